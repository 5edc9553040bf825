package otelsessions_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/typedsessions/sessions"
	otelsessions "github.com/typedsessions/sessions/contrib/otel"
)

// visitThrice is a visitor whose first request begins a session, and two more that load it.
func visitThrice(m *sessions.Manager[Session]) {
	h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Session](r.Context()).Views++
	}))
	cookie := ""
	for range 3 {
		r := httptest.NewRequest("GET", "https://example.com/", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if line := w.Header().Get("Set-Cookie"); line != "" {
			cookie, _, _ = strings.Cut(line, ";")
		}
	}
}

// printMetrics prints the lines of a scrape that are about events.
func printMetrics(h http.Handler) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "sessions_events_total") {
			name, labels, _ := strings.Cut(line, "{")
			_, labels, _ = strings.Cut(labels, "sessions_event=")
			_, value, _ := strings.Cut(labels, "} ")
			event, _, _ := strings.Cut(strings.TrimPrefix(labels, "event="), ",")
			fmt.Print(name, " ", strings.TrimSuffix(event, "} "+value), " ", value)
		}
	}
}

// With the providers that the program has set for all of its parts.
func ExampleOnEvent_global() {
	store := &sessions.MemoryStore{}
	m, err := sessions.New[Session](store, sessions.Config{OnEvent: otelsessions.OnEvent(nil, nil)})
	if err != nil {
		log.Fatal(err)
	}
	visitThrice(m)
	// Output:
}

// With the exporter of OpenTelemetry.
func ExampleOnEvent() {
	// Exporter begins.
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		log.Fatal(err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	m, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{OnEvent: otelsessions.OnEvent(nil, meters)})
	if err != nil {
		log.Fatal(err)
	}
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	// Exporter ends.
	visitThrice(m)
	printMetrics(metrics)
	// Output:
	// sessions_events_total "created" 1
	// sessions_events_total "loaded" 2
	// sessions_events_total "saved" 2
}

// Without OpenTelemetry.
func Example_prometheus() {
	// Counter begins.
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sessions_events_total", Help: "Events of sessions."}, []string{"event"})
	prometheus.MustRegister(events)
	m, err := sessions.New[Session](&sessions.MemoryStore{}, sessions.Config{
		OnEvent: func(_ context.Context, e sessions.Event) { events.WithLabelValues(e.Kind.String()).Inc() },
	})
	if err != nil {
		log.Fatal(err)
	}
	metrics := promhttp.Handler()
	// Counter ends.
	visitThrice(m)
	w := httptest.NewRecorder()
	metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "sessions_events_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// sessions_events_total{event="created"} 1
	// sessions_events_total{event="loaded"} 2
	// sessions_events_total{event="saved"} 2
}

func TestReadme(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Exporter", "Counter"} {
		_, code, _ := strings.Cut(string(source), "// "+name+" begins.\n")
		code, _, _ = strings.Cut(code, "\t// "+name+" ends.")
		code = strings.ReplaceAll(strings.TrimPrefix(code, "\t"), "\n\t", "\n")
		if len(code) < 100 || !strings.Contains(string(readme), "```go\n"+code+"```") {
			t.Errorf("README.md does not show the %s as it is:\n%s", name, code)
		}
	}
}
