package sessions

import (
	"context"
	"log/slog"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// infoOf returns the Info that a record contains.
func (m *core) infoOf(rec *record.Record) Info {
	i := Info{ID: string(rec.ID), Owner: string(rec.Owner), Label: string(rec.Label), Remembered: rec.Remembered}
	if !rec.Created.IsZero() {
		i.CreatedAt, i.AuthenticatedAt = rec.Created, rec.Authenticated
		i.ExpiresAt = m.engine.Timeouts(rec.Remembered).End(rec.Created)
	}
	return i
}

// logLine is how an event is logged whose error reaches no caller.
type logLine struct {
	level slog.Level
	msg   string
}

var logLines = map[EventKind]logLine{
	EventUnavailable: {slog.LevelError, "the store is unavailable"}, // the first one of an outage
	EventRecovered:   {slog.LevelInfo, "the store answers again"},
	EventUndecodable: {slog.LevelWarn, "a stored session cannot be read and was left as it is"},
	EventTwoSessions: {slog.LevelWarn, "a request carried two valid sessions; neither was used"},
	EventFailed:      {slog.LevelError, "a session could not be saved"},
	EventLateChange:  {slog.LevelWarn, "a session was changed too late to be saved: call Save before the response begins"},
	EventUndelivered: {slog.LevelInfo, "a response with a new session token may not have arrived"},
	EventLateUse:     {slog.LevelWarn, "a session was first looked at after the response began: look before, so that caches are told"}, // the first one of a route
}

const insecureMsg = "sessions: a Secure cookie was sent over plain HTTP, where browsers drop it except on localhost: serve HTTPS, let the proxy set X-Forwarded-Proto, or for development use Cookie{Insecure: true}"

// report logs an event if its error reaches no caller, and calls the hook.
func (m *core) report(ctx context.Context, e Event) {
	if e.Kind == eventInsecure {
		m.Logger.WarnContext(ctx, insecureMsg)
		return
	}
	if line, ok := logLines[e.Kind]; ok && (e.first || e.Kind != EventUnavailable && e.Kind != EventLateUse) {
		id := e.Session.ID
		if m.engine.IDOf != nil && id != "" {
			id = protocol.HashID(id)
		}
		attrs := []slog.Attr{slog.String("op", e.Op), slog.String("session", id)}
		if e.route != "" {
			attrs = append(attrs, slog.String("route", e.route))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("err", e.Err.Error()))
		}
		m.Logger.LogAttrs(ctx, line.level, "sessions: "+line.msg, attrs...)
	}
	if m.OnEvent != nil {
		m.OnEvent(ctx, e)
	}
}
