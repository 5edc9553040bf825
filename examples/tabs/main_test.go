package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestTabs(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, log := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-addr", "127.0.0.1:0"}, log) }()
	lines := bufio.NewScanner(out)
	var url string
	for url == "" && lines.Scan() {
		_, url, _ = strings.Cut(lines.Text(), "open  ")
	}
	go io.Copy(io.Discard, out)

	for path, part := range map[string]string{"/": "<title>Two tabs", "/script.js": "const plays", "/style.css": ":root", "/here/session": `"cart":null`} {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), part) {
			t.Errorf("%s: %s %q, %v, want %q", path, res.Status, body, err, part)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func TestTabsRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"cannot reach Redis on 127.0.0.1:1": {"-redis", "redis://127.0.0.1:1/0"},
		"-redis: ":                          {"-redis", "localhost:6379"},
		"-addr: ":                           {"-addr", "nowhere"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
