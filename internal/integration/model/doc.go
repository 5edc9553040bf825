// Package model is a randomized test of what the library promises to requests
// that race: clients in several real processes load, edit, update, renew and
// destroy the same sessions in one redis-server, sign a user in on them and revoke
// all of the user's, while a proxy drops replies, holds commands back and cuts
// connections, the server kills connections, and processes die at any command.
// What each saw goes into a history, and the history must be one that a single
// atomic session could have had; see the rules at the top of checker_test.go.
//
// A run consists of rounds. A round is one session, a handful of clients in
// every process, and some hundred operations at the most, so that its history is
// checked in milliseconds. Many rounds run at once.
//
//	go test ./model                                    # some thousand operations
//	go test ./model -model.ops 1000000 -timeout 1h     # the long run
//	go test ./model -model.seed 7                      # the rounds of that seed
//	go test ./model -model.round 0x1f… -model.ops 50000 # one round, again and again
//
// -model.processes, -model.clients and -model.lanes set the size, and
// -model.picture names a file for porcupine's picture of a violation.
//
// A seed decides what clients try and how often faults strike, not how the
// processes interleave: repeat the round that failed until it does again.
package model
