package sessions

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/typedsessions/sessions/internal/protocol"
	"github.com/typedsessions/sessions/internal/record"
)

// infoOf returns the Info that a record contains.
func (m *core) infoOf(rec *record.Record) Info {
	i := Info{ID: string(rec.ID), Owner: string(rec.Owner), Label: string(rec.Label), Remembered: rec.Remembered}
	if !rec.Created.IsZero() {
		i.CreatedAt, i.AuthenticatedAt = rec.Created, rec.Authenticated
		if !rec.Authenticated.IsZero() { // a build that knows no method may have taken the time away alone
			i.Method = string(rec.Method)
		}
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
	EventUnavailable: {slog.LevelError, "the store is unavailable"},
	EventRecovered:   {slog.LevelInfo, "the store answers again"},
	EventUndecodable: {slog.LevelWarn, "a stored session cannot be read and was left as it is"},
	EventTwoSessions: {slog.LevelWarn, "a request carried two valid sessions; neither was used"},
	EventFailed:      {slog.LevelError, "a session could not be saved"},
	EventLateChange:  {slog.LevelWarn, "a session was changed too late to be saved: call Save before the response begins"},
	EventUndelivered: {slog.LevelInfo, "a response with a new session token may not have arrived"},
	EventWithheld:    {slog.LevelWarn, "nothing was stored for a cross-site request without the cookie, because a new session would replace the one whose cookie the browser may have withheld: call SignIn or Save to store it, or Skip the route"},
	EventLateUse:     {slog.LevelWarn, "caches were not told that a session was used, because the response had begun: look at it before"},

	EventUnknownTokens: {slog.LevelWarn, "many unknown tokens within a minute: somebody guesses, or the store has lost its records"},
}

const insecureMsg = "sessions: a Secure cookie was sent over plain HTTP, where browsers drop it except on localhost: serve HTTPS, let the proxy set X-Forwarded-Proto, or for development use Cookie{Insecure: true}"

// hears tells whether an event is told to anybody.
func (m *core) hears(kind EventKind) bool {
	_, logged := logLines[kind]
	return m.OnEvent != nil || logged || kind == eventInsecure
}

// report logs the events whose errors reach no caller, and calls the hook, which gets each one. The hook may panic, and
// that a line has been written is remembered: so all lines come first.
func (m *core) report(ctx context.Context, events ...Event) {
	for _, e := range events {
		if line, ok := logLines[e.Kind]; ok {
			if errors.Is(e.Err, ErrOwnerLimit) { // which is what Reject is for: nobody has to look after it
				line.level = slog.LevelInfo
			}
			m.log(ctx, line, e)
		} else if e.Kind == eventInsecure {
			m.Logger.WarnContext(ctx, insecureMsg)
		}
	}
	if m.OnEvent == nil {
		return
	}
	for _, e := range events {
		if e.Kind != eventInsecure {
			m.OnEvent(ctx, e)
		}
	}
}

// log writes the line of an event, unless it repeats another one. An outage is told at its beginning and its end.
func (m *core) log(ctx context.Context, line logLine, e Event) {
	var outage protocol.Outage
	if e.outage != nil {
		outage = *e.outage
	}
	repeats, write := outage.Repeats, true
	switch e.Kind {
	case EventUnavailable:
		write = outage.First
	case EventRecovered, EventUnknownTokens: // which do not repeat
	default:
		repeats, write = m.lines.Note(strings.Join([]string{e.Kind.String(), e.Op, e.route, classOf(e.Err)}, "\x00"))
	}
	if !write {
		return
	}
	id := e.Session.ID
	if m.engine.IDOf != nil && id != "" {
		id = protocol.HashID(id)
	}
	attrs := []slog.Attr{slog.String("op", e.Op), slog.String("session", id)}
	if e.route != "" {
		attrs = append(attrs, slog.String("route", e.route))
	}
	if outage.Cause != "" {
		attrs = append(attrs, slog.String("cause", outage.Cause))
	}
	if e.Kind == EventRecovered {
		attrs = append(attrs, slog.Duration("lasted", outage.Lasted))
	}
	if repeats > 0 {
		attrs = append(attrs, slog.Int("repeats", repeats))
	}
	if e.Count > 0 {
		attrs = append(attrs, slog.Int("count", e.Count))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("err", e.Err.Error()))
	}
	m.Logger.LogAttrs(ctx, line.level, "sessions: "+line.msg, attrs...)
}

// routeOf is a request's method and the pattern of its route, without the pattern's own method. The path itself, and a
// method that nobody knows, may hold secrets, and could have a value for each request.
func routeOf(method, pattern string) string {
	if !slices.Contains(methods, method) {
		method = "_OTHER"
	}
	if _, path, found := strings.Cut(pattern, " "); found {
		pattern = path
	}
	return strings.TrimSpace(method + " " + pattern)
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// classOf is what errors of one kind have in common: without the session's ID, sizes and the like.
func classOf(err error) string {
	if err == nil {
		return ""
	}
	if broken, ok := errors.AsType[*DecodeError](err); ok {
		return broken.Path
	}
	parts := strings.SplitN(err.Error(), ": ", 3)
	return strings.Join(parts[:min(len(parts), 2)], ": ")
}
