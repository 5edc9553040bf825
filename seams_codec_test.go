package sessions_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/typedsessions/sessions"
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

// A FieldCodec may name fields in its own way, as YAML and BSON do.
type lowerCodec struct{ sessions.JSON }

func (lowerCodec) Name() string { return "lower" }

func (c lowerCodec) Marshal(v any) ([]byte, error) { return c.rename(v, strings.ToLower) }

func (c lowerCodec) rename(v any, name func(string) string) ([]byte, error) {
	data, err := c.JSON.Marshal(v)
	if err != nil {
		return nil, err
	}
	fields, err := c.Split(data)
	for i := range fields {
		fields[i].Name = name(fields[i].Name)
	}
	return cmpJoin(c, fields, err)
}

func cmpJoin(c sessions.FieldCodec, fields sessions.Fields, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return c.Join(fields)
}

func TestSeamsFieldNames(t *testing.T) {
	type Plain struct {
		UserName string
		Count    int
	}
	_, err := sessions.New[Plain](new(sessions.MemoryStore), sessions.Config{Codec: lowerCodec{}})
	// As FieldCodec says: by a tag or as Go does. Better refused than lost.
	if err == nil || !strings.Contains(err.Error(), "field UserName is lost") {
		t.Errorf("New = %v, want it to refuse a FieldCodec that names the fields in its own way", err)
	}
}
