package sessions

import "errors"

// A ConflictPolicy says what a save does when another one came in between: the
// two requests loaded the same record, and both have changed it. Under none of
// them does a save bring back a session that has ended, or write into one that
// now belongs to somebody else: both are [ErrGone].
type ConflictPolicy int

const (
	// ConflictMerge merges by top-level field. A field that this request has
	// changed wins, every other keeps what is stored, also those that T does
	// not know. Fields that must agree with each other belong in one nested
	// struct, which is one field. [Merging] replaces the rule by T's own. With
	// a [Codec] that is no [FieldCodec] it is ConflictLastWrite.
	ConflictMerge ConflictPolicy = iota
	// ConflictLastWrite lets the later save stand, as a whole, and with it
	// what [Manager.Update] has not changed in a request that has also changed T otherwise.
	ConflictLastWrite
	// ConflictReject lets the earlier save stand; the later one is [ErrConflict].
	ConflictReject
)

// validate refuses a policy that does not exist.
func (p ConflictPolicy) validate() error {
	if p < ConflictMerge || p > ConflictReject {
		return errors.New("sessions: Config.OnConflict: it is none of ConflictMerge, ConflictLastWrite and ConflictReject")
	}
	return nil
}
