package sessions_test

import (
	"testing"
	"time"
)

func BenchmarkCodec(b *testing.B) {
	type T struct {
		UserID string      `json:"user_id"`
		Email  string      `json:"email"`
		Roles  []string    `json:"roles"`
		Views  int         `json:"views"`
		Seen   time.Time   `json:"seen"`
		Cart   []codecItem `json:"cart"`
	}
	v := &T{"u1234567", "a@example.com", []string{"admin", "staff"}, 17, time.Now(), []codecItem{{"a-1", 1}, {"b-2", 2}, {"c-3", 3}}}
	for _, c := range fieldCodecs {
		data, err := c.Marshal(v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.Name()+"/marshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Marshal(v); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data)), "bytes")
		})
		b.Run(c.Name()+"/unmarshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Unmarshal(data, new(T)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.Name()+"/split", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Split(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
