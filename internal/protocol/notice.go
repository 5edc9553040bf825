package protocol

import "github.com/typedsessions/sessions/internal/record"

// An Application is the user of a [Session]: it knows what the payload of a record means, and hears what
// happens on the way. Its methods run in the goroutine that called the Session.
type Application interface {
	// Decode reads the payload of a record that was loaded. Its error means that the record cannot be read.
	Decode(rec record.Record) error
	// Adopt says that the record decoded last is the session's now.
	Adopt()
	// Notice hears what happened, at once: the Session is as it was at that moment.
	Notice(n Notice)
}

// A Notice says that something happened that a caller learns from no result.
type Notice struct {
	Kind NoticeKind
	Err  error
	// Record is the record concerned, if that is not the Session's.
	Record *record.Record
	// First says that an outage has begun with it.
	First bool
}

// NoticeKind is the kind of a [Notice].
type NoticeKind int

const (
	Unavailable  NoticeKind = iota // the store did not answer
	Recovered                      // the store answers again
	Expired                        // a record past its time was found and deleted
	Undecodable                    // a record cannot be read, and was left as it is
	TwoSessions                    // the tokens stand for two valid sessions
	TouchSkipped                   // the store could read, but not restart the expiry
	Gone                           // the session has ended elsewhere
	OutOfTime                      // others kept writing until the time was up
)
