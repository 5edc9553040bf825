// Package load sends requests of many browsers to a small site of three processes while its Redis fails in every way that
// docs/requirements.md names (F1 to F10), and knows of each browser what it has been told. So it counts what no answer may be:
// another user's page, a change that was acknowledged and is gone, a token that works after a sign-out or a revocation, a session
// beyond its Lifetime or its user's limit, an error that sends a cookie, a visitor without a cookie who gets an error,
// and a token or a value of a session in a log. What a failover had not replicated is counted apart.
//
//	go test ./load                                        # each scenario for some seconds
//	go test ./load -run Faults -load.for 1m -timeout 2h   # for long
//	go test ./load -run 'Faults/.*Sentinel'               # one of them
//
// The table of docs/faults.md is made by
//
//	go test -count=1 -run Faults -timeout 1h ./load -load.for 1s -load.write
//
// The oracle is tested with sites and stores that are wrong on purpose.
package load
