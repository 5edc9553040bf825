package sessions_test

// What suites that are still here need of suites that have moved.

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sync"
	"time"
)

const (
	oddToken = "sODDODDODDODDODDODDODDODDODD"
	oddID    = "0dd0dd0d-0dd0-4dd0-8dd0-0dd0dd0dd0dd"
)

// keyOf is the key of a token, as the documentation of the stored format has it.
func keyOf(token string) string {
	sum := sha256.Sum256([]byte("session\x00" + token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// recordOf is a record that was written a minute ago, around any payload.
func recordOf(codec, payload string) string {
	return fmt.Sprintf(`{"id":%q,"w":["other.1"],"c":%q,"created":%d}`, oddID, codec, time.Now().Add(-time.Minute).UnixMilli()) + "\n" + payload
}

// logBuffer is a log to look into.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}
