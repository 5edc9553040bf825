package seams_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// gobCodec is a foreign Codec of bytes that are nobody's object: no fields, and
// maps in any order.
type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	r := bytes.NewReader(data)
	if err := gob.NewDecoder(r).Decode(v); err != nil {
		return errors.New("not gob")
	}
	if r.Len() > 0 {
		return errors.New("trailing bytes")
	}
	return nil
}

// plainCodec is a foreign Codec of JSON objects, for the document layout.
type plainCodec struct{}

func (plainCodec) Name() string                       { return "plain" }
func (plainCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (plainCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// lowerCodec is a FieldCodec that names fields in its own way, as YAML and BSON do.
type lowerCodec struct{ sessions.JSON }

func (lowerCodec) Name() string { return "lower" }

func (c lowerCodec) Marshal(v any) ([]byte, error) {
	data, err := c.JSON.Marshal(v)
	if err != nil {
		return nil, err
	}
	fields, err := c.Split(data)
	if err != nil {
		return nil, err
	}
	for i := range fields {
		fields[i].Name = strings.ToLower(fields[i].Name)
	}
	return c.Join(fields)
}

func TestFieldNames(t *testing.T) {
	t.Parallel()
	type plain struct {
		UserName string
		Count    int
	}
	_, err := sessions.New[plain](kit.Memory(), sessions.Config{Codec: lowerCodec{}})
	// As FieldCodec says: by a tag or as Go does. Better refused than lost.
	if err == nil || !strings.Contains(err.Error(), "field UserName is lost") {
		t.Errorf("New = %v, want it to refuse a FieldCodec that names the fields in its own way", err)
	}
}
