package caching_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A sharedCache is what stands between all visitors and the server: RFC 9111, where that leaves a choice the one that
// keeps more. It keeps Set-Cookie with the rest, as real ones do.
type sharedCache struct {
	kind
	next http.RoundTripper

	mu      sync.Mutex
	entries map[string][]*entry // by URL
	hits    int                 // responses without a request to the server
}

// A kind of cache.
type kind struct {
	ignoreVary bool     // as many CDNs do
	targeted   []string // fields that it obeys in place of Cache-Control, where one is there (RFC 9213)
}

// newCache is an empty one before the server that next asks.
func newCache(k kind, next http.RoundTripper) *sharedCache {
	return &sharedCache{kind: k, next: next, entries: map[string][]*entry{}}
}

type entry struct {
	request http.Header
	status  int
	header  http.Header
	body    []byte
	fresh   time.Time // until when
}

// heuristic are the statuses whose responses may be kept though nothing says for how long (RFC 9110 section 15.1).
var heuristic = []int{200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}

func (c *sharedCache) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := r.URL.String()
	if r.Method != "GET" && r.Method != "HEAD" {
		delete(c.entries, key) // section 4.4
		return c.next.RoundTrip(r)
	}
	e := c.find(key, r)
	if e != nil && time.Now().Before(e.fresh) {
		c.hits++
		return e.answer(r), nil
	}
	asked := r
	if e != nil { // stale: it may still be right
		asked = r.Clone(r.Context())
		asked.Header.Del("Range")
		if tag := e.header.Get("Etag"); tag != "" && asked.Header.Get("If-None-Match") == "" {
			asked.Header.Set("If-None-Match", tag)
		}
		if at := e.header.Get("Last-Modified"); at != "" && asked.Header.Get("If-Modified-Since") == "" {
			asked.Header.Set("If-Modified-Since", at)
		}
	}
	res, err := c.next.RoundTrip(asked)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	got := &entry{request: r.Header.Clone(), status: res.StatusCode, header: res.Header.Clone(), body: body}
	if e != nil && res.StatusCode == http.StatusNotModified && validates(e.header, res.Header) { // section 4.3.4
		got.status, got.body, got.header = e.status, e.body, e.header.Clone()
		maps.Copy(got.header, res.Header)
	}
	if r.Method == "GET" && got.status != http.StatusNotModified {
		c.keep(key, r, got)
	}
	return got.answer(r), nil
}

// validates reports whether a 304 is about a stored response.
func validates(stored, found http.Header) bool {
	tag := found.Get("Etag")
	return tag == "" || tag == stored.Get("Etag")
}

// find is what was kept for such a request.
func (c *sharedCache) find(key string, r *http.Request) *entry {
	for _, e := range slices.Backward(c.entries[key]) {
		if c.matches(e, r) {
			return e
		}
	}
	return nil
}

func (c *sharedCache) matches(e *entry, r *http.Request) bool {
	if e.status == http.StatusPartialContent && e.request.Get("Range") != r.Header.Get("Range") {
		return false
	}
	for name := range list(e.header["Vary"]) {
		if !c.ignoreVary && (name == "*" || !slices.Equal(e.request[http.CanonicalHeaderKey(name)], r.Header[http.CanonicalHeaderKey(name)])) {
			return false
		}
	}
	return true
}

// keep stores a response, if it may (section 3), in place of what it would have been found as.
func (c *sharedCache) keep(key string, r *http.Request, e *entry) {
	c.entries[key] = slices.DeleteFunc(c.entries[key], func(old *entry) bool { return c.matches(old, r) })
	said := list(e.header["Cache-Control"])
	for _, field := range c.targeted {
		if lines := e.header[field]; lines != nil {
			said = list(lines)
		}
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { _, ok := said[name]; return ok })
	}
	switch {
	case has("no-store", "private"):
		return
	case r.Header.Get("Authorization") != "" && !has("public", "s-maxage", "must-revalidate"): // section 3.5
		return
	}
	lifetime := time.Duration(-1)
	for _, name := range []string{"max-age", "s-maxage"} { // the latter counts
		if n, err := strconv.Atoi(said[name]); err == nil {
			lifetime = time.Duration(n) * time.Second
		}
	}
	if at, err := http.ParseTime(e.header.Get("Expires")); err == nil && lifetime < 0 {
		lifetime = max(0, time.Until(at))
	}
	if lifetime < 0 {
		if !slices.Contains(heuristic, e.status) && !has("public") {
			return
		}
		lifetime = 2 * time.Minute // what Varnish does by default
		if at, err := http.ParseTime(e.header.Get("Last-Modified")); err == nil {
			lifetime = max(lifetime, time.Since(at)/10) // section 4.2.2
		}
	}
	if e.fresh = time.Now(); !has("no-cache") {
		e.fresh = e.fresh.Add(lifetime)
	}
	c.entries[key] = append(c.entries[key], e)
}

// list are the members of a field of directives or names, with their values.
func list(lines []string) map[string]string {
	all := map[string]string{}
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if name != "" {
			all[strings.ToLower(name)] = strings.Trim(value, `"`)
		}
	}
	return all
}

// answer is the response to r out of e.
func (e *entry) answer(r *http.Request) *http.Response {
	res := &http.Response{StatusCode: e.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: e.header.Clone(), Request: r}
	body := e.body
	var from, to int
	if tag := e.header.Get("Etag"); e.status == 200 && tag != "" && r.Header.Get("If-None-Match") == tag {
		res.StatusCode, body = http.StatusNotModified, nil
	} else if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 && e.status == 200 && from <= to && to < len(body) {
		res.StatusCode = http.StatusPartialContent
		res.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(body)))
		body = body[from : to+1]
	}
	if r.Method == "HEAD" {
		body = nil
	}
	res.ContentLength, res.Body = int64(len(body)), io.NopCloser(bytes.NewReader(body))
	return res
}
