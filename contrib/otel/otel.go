// Package otelsessions tells OpenTelemetry what happens to the sessions of package sessions: spans and metrics of its events.
//
//	m, err := sessions.New[Session](store, sessions.Config{OnEvent: otelsessions.OnEvent(nil, nil)})
//
// No token, ID, owner or label is in an attribute: they would let somebody in, tell who a user is, or make one time series a
// user.
package otelsessions

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedsessions/sessions"
)

const scope = "github.com/typedsessions/sessions/contrib/otel"

// The attributes. Their values are few, and none is a user's.
const (
	operationKey = attribute.Key("sessions.operation") // Event.Op: load, commit, sign_in and so on
	eventKey     = attribute.Key("sessions.event")     // Event.Kind: loaded, not_found, saved, unavailable and so on
	errorKey     = attribute.Key("error.type")         // of the semantic conventions: unavailable, conflict and so on, or _OTHER
)

// OnEvent returns a [sessions.Config].OnEvent, which is safe for concurrent use. nil stands for the global provider. It tells
// of each event:
//
//   - a span of the operation, where the context has a span, such as that of otelhttp: it is a child of that, and has the
//     status Error where the event has an error
//   - the histogram sessions.operation.duration, in seconds
//   - the counter sessions.events
//
// An event that is no part of an operation has no duration, and so the counter alone.
func OnEvent(tracers trace.TracerProvider, meters metric.MeterProvider) func(context.Context, sessions.Event) {
	if tracers == nil {
		tracers = otel.GetTracerProvider()
	}
	if meters == nil {
		meters = otel.GetMeterProvider()
	}
	tracer, meter := tracers.Tracer(scope), meters.Meter(scope)
	durations, err := meter.Float64Histogram("sessions.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of operations on sessions, the store's answers included."),
		// The buckets of db.client.operation.duration.
		metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
	if err != nil {
		otel.Handle(err)
	}
	events, err := meter.Int64Counter("sessions.events", metric.WithUnit("{event}"), metric.WithDescription("Events of sessions."))
	if err != nil {
		otel.Handle(err)
	}
	return func(ctx context.Context, e sessions.Event) {
		attrs := []attribute.KeyValue{operationKey.String(word(e.Op)), eventKey.String(word(e.Kind.String()))}
		if e.Err != nil {
			attrs = append(attrs, errorKey.String(errorType(e.Err)))
		}
		set := metric.WithAttributeSet(attribute.NewSet(attrs...))
		events.Add(ctx, 1, set)
		if e.Duration <= 0 {
			return
		}
		durations.Record(ctx, e.Duration.Seconds(), set)
		if !trace.SpanFromContext(ctx).IsRecording() {
			return
		}
		end := time.Now()
		_, span := tracer.Start(ctx, "session "+e.Op, trace.WithTimestamp(end.Add(-e.Duration)), trace.WithAttributes(attrs...))
		if e.Err != nil {
			span.SetStatus(codes.Error, errorType(e.Err))
		}
		span.End(trace.WithTimestamp(end))
	}
}

func word(s string) string { return strings.ReplaceAll(s, " ", "_") }

// errorType is the class of an error. Its text may hold an ID.
func errorType(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{
		{sessions.ErrRefused, "refused"},
		{sessions.ErrUnavailable, "unavailable"},
		{sessions.ErrNewerVersion, "newer_version"},
		{sessions.ErrConflict, "conflict"},
		{sessions.ErrGone, "gone"},
		{sessions.ErrOwnerLimit, "owner_limit"},
		{sessions.ErrTooLarge, "too_large"},
		{sessions.ErrCommitted, "committed"},
		{context.Canceled, "canceled"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	if _, ok := errors.AsType[*sessions.DecodeError](err); ok {
		return "undecodable"
	}
	return "_OTHER"
}
