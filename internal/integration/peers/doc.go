// Package peers holds a table: which promises this library keeps, and which
// ones its peers keep. TABLE.md is what it looks like.
//
// Every cell is a test. A peer that is said to fail has to fail, so that the
// table cannot go on saying so after the peer has been mended, and a peer that
// is said to keep a promise has to keep it. Each one is driven over HTTP, on a
// real Redis, in the way its documentation shows, with its default settings
// but for a timeout that restarts with activity, where it has one.
//
// After a change of the table or of a peer's version:
//
//	go test ./peers -run TestMarkdown -update
package peers
