package seams_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

// document is a foreign Layout: the key is the token, the record one flat JSON
// object, and what is to be known about the session lies under "meta" in it,
// its lifetime and the path of its cookie among that. There is no room for an
// id, a write, a mark, or the time of creation.
type document struct{ maxAge time.Duration }

type docMeta struct {
	MaxAge  int64     `json:"maxAge"` // milliseconds
	Expires time.Time `json:"expires"`
	Path    string    `json:"path"`
}

func (m *docMeta) maxAge() time.Duration { return time.Duration(m.MaxAge) * time.Millisecond }

func (document) Mint(drawn string, _ bool) string { return drawn }

func (document) Parse(token string) (remembered, known, ok bool) {
	return false, false, len(token) >= 20 && len(token) <= 64
}

func (document) Key(_, token string) string { return token }

func (document) Open(stored []byte) (r sessions.Record, err error) {
	fields, err := sessions.JSON{}.Split(stored)
	if err != nil {
		return r, err
	}
	i := slices.IndexFunc(fields, func(f sessions.Field) bool { return f.Name == "meta" })
	if i < 0 {
		return r, errors.New("no meta object")
	}
	meta := new(docMeta)
	if json.Unmarshal(fields[i].Value, meta) != nil || meta.Path == "" {
		return r, errors.New("malformed meta object")
	}
	r.Payload, err = sessions.JSON{}.Join(slices.Delete(fields, i, i+1))
	r.Idle, r.Attrs, r.Prefix = meta.maxAge(), meta, len(stored)
	return r, err
}

func (d document) Seal(r sessions.Record) ([]byte, error) {
	if r.Successor != nil {
		return nil, errors.ErrUnsupported
	}
	meta := docMeta{MaxAge: d.maxAge.Milliseconds(), Path: "/app"}
	if m, ok := r.Attrs.(*docMeta); ok {
		meta = *m
	}
	meta.Expires = time.Now().Add(meta.maxAge()).UTC()
	value, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	fields, err := sessions.JSON{}.Split(r.Payload)
	if err != nil {
		return nil, err
	}
	return sessions.JSON{}.Join(slices.Insert(fields, 0, sessions.Field{Name: "meta", Value: value}))
}

// forgetful is DefaultLayout without the method of an authentication, as one that takes the fields of a Record apart and
// was written before there was that one.
type forgetful struct{ sessions.DefaultLayout }

func (l forgetful) Seal(r sessions.Record) ([]byte, error) {
	r.Method = nil
	return l.DefaultLayout.Seal(r)
}

func TestLayoutWithoutAMethod(t *testing.T) {
	t.Run("L30 a Layout that keeps the time of an authentication and no method says so", func(t *testing.T) {
		m := kit.New[kit.Session](t, kit.Memory(), sessions.Config{Layout: forgetful{}})
		token := kit.Verb(t, m, "", "SignIn")
		kit.Verb(t, m, token, "Reauthenticate")
		ctx, _ := kit.Load(t, m)
		kit.WantErr(t, "SignIn", m.SignIn(ctx, sessions.AuthenticatedBy("pwd")), errors.ErrUnsupported)
		kit.OK(t, m.SignIn(ctx, sessions.AuthenticatedAt(time.Now().Add(-time.Hour))))
		if !m.Info(ctx).AuthenticatedWithin(2 * time.Hour) {
			t.Errorf("%+v", m.Info(ctx))
		}
	})
}
