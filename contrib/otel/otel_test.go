package otelsessions_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/typedsessions/sessions"
	otelsessions "github.com/typedsessions/sessions/contrib/otel"
)

type Session struct {
	UserID string
	Views  int
}

func (s *Session) SessionOwner() string { return s.UserID }

// failing is a store that can be away.
type failing struct {
	sessions.MemoryStore
	away bool
}

func (f *failing) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	if f.away {
		return nil, 0, fmt.Errorf("%w: secret", sessions.ErrUnavailable)
	}
	return f.MemoryStore.Load(ctx, key, touch)
}

func TestOnEvent(t *testing.T) {
	spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	store := &failing{}
	m, err := sessions.New[Session](store, sessions.Config{
		OnEvent: otelsessions.OnEvent(tracers, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))),
		Label:   func(*http.Request) string { return "the-label" },
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.FromContext[Session](r.Context()).UserID = "the-owner"
		if err := m.SignIn(r.Context()); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { sessions.FromContext[Session](r.Context()).Views++ })

	token, id := "", ""
	visit := func(path string) (server sdktrace.ReadOnlySpan) {
		ctx, span := tracers.Tracer("test").Start(t.Context(), "GET "+path)
		r := httptest.NewRequestWithContext(ctx, "GET", "https://example.com"+path, nil)
		r.Header.Set("Cookie", "__Host-Http-session="+token)
		w := httptest.NewRecorder()
		m.Handler(mux).ServeHTTP(w, r)
		span.End()
		for _, c := range w.Result().Cookies() {
			token = c.Value
		}
		return span.(sdktrace.ReadOnlySpan)
	}
	wantSpans := func(server sdktrace.ReadOnlySpan, want ...string) {
		t.Helper()
		var got []string
		for _, s := range spans.Ended() {
			if s.Parent().SpanID() != server.SpanContext().SpanID() {
				continue
			}
			got = append(got, fmt.Sprintf("%s %v %v", s.Name(), s.Attributes(), s.Status().Code))
			if s.StartTime().Before(server.StartTime()) || s.EndTime().After(server.EndTime()) || !s.EndTime().After(s.StartTime()) {
				t.Errorf("%s is not within its request: %v to %v", s.Name(), s.StartTime(), s.EndTime())
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("spans\n got %q\nwant %q", got, want)
		}
	}
	attrs := func(op, event string, more ...attribute.KeyValue) string {
		return fmt.Sprint(append(more, attribute.String("sessions.event", event), attribute.String("sessions.operation", op)))
	}
	wantSpans(visit("/"), "session commit "+attrs("commit", "created")+" Unset")
	wantSpans(visit("/login"), "session load "+attrs("load", "loaded")+" Unset", "session sign in "+attrs("sign_in", "signed_in")+" Unset")
	wantSpans(visit("/"), "session load "+attrs("load", "loaded")+" Unset", "session commit "+attrs("commit", "saved")+" Unset")
	store.away = true
	wantSpans(visit("/"), "session load "+attrs("load", "unavailable", attribute.String("error.type", "unavailable"))+" "+codes.Error.String())
	store.away = false
	if ctx, err := m.Load(t.Context(), token); err == nil {
		id = m.Info(ctx).ID
	}

	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	exported := []string{fmt.Sprintf("%+v", all)}
	for _, s := range spans.Ended() {
		exported = append(exported, fmt.Sprintf("%+v %v %v", s.Attributes(), s.Events(), s.Status()))
	}
	text := strings.Join(exported, "\n")
	for _, secret := range []string{token, id, "the-owner", "the-label", "secret"} {
		if secret == "" || strings.Contains(text, secret) {
			t.Errorf("%q is in what is exported", secret)
		}
	}
	if len(all.ScopeMetrics) != 1 || len(all.ScopeMetrics[0].Metrics) != 2 {
		t.Fatalf("metrics %+v, want two of one scope", all)
	}
	counts := map[string]uint64{}
	for _, metric := range all.ScopeMetrics[0].Metrics {
		switch data := metric.Data.(type) {
		case metricdata.Sum[int64]:
			if metric.Name != "sessions.events" || metric.Unit != "{event}" || !data.IsMonotonic {
				t.Errorf("the counter is %s in %s", metric.Name, metric.Unit)
			}
			for _, p := range data.DataPoints {
				event, _ := p.Attributes.Value("sessions.event")
				counts["events "+event.AsString()] += uint64(p.Value)
			}
		case metricdata.Histogram[float64]:
			if metric.Name != "sessions.operation.duration" || metric.Unit != "s" {
				t.Errorf("the histogram is %s in %s", metric.Name, metric.Unit)
			}
			for _, p := range data.DataPoints {
				event, _ := p.Attributes.Value("sessions.event")
				if counts["durations "+event.AsString()] += p.Count; p.Sum <= 0 || p.Sum > 60 {
					t.Errorf("%s: %v seconds", event.AsString(), p.Sum)
				}
			}
		}
	}
	for event, want := range map[string]uint64{"created": 1, "loaded": 3, "signed_in": 1, "saved": 1, "unavailable": 1} {
		if counts["events "+event] != want || counts["durations "+event] != want {
			t.Errorf("%s: %d events and %d durations, want %d", event, counts["events "+event], counts["durations "+event], want)
		}
	}
}

func TestErrorTypes(t *testing.T) {
	for want, err := range map[string]error{
		"unavailable": sessions.ErrUnavailable, "refused": sessions.ErrRefused, "newer_version": sessions.ErrNewerVersion,
		"conflict": sessions.ErrConflict, "gone": sessions.ErrGone, "owner_limit": sessions.ErrOwnerLimit,
		"too_large": sessions.ErrTooLarge, "committed": sessions.ErrCommitted, "canceled": context.Canceled,
		"undecodable": &sessions.DecodeError{Err: http.ErrBodyNotAllowed}, "_OTHER": http.ErrBodyNotAllowed,
	} {
		reader := sdkmetric.NewManualReader()
		on := otelsessions.OnEvent(nil, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
		on(t.Context(), sessions.Event{Kind: sessions.EventFailed, Err: fmt.Errorf("wrapped: %w", err)})
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		points := all.ScopeMetrics[0].Metrics[0].Data.(metricdata.Sum[int64]).DataPoints
		if got, _ := points[0].Attributes.Value("error.type"); got.AsString() != want {
			t.Errorf("%v: error.type %q, want %q", err, got.AsString(), want)
		}
	}
}
