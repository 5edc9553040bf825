// Package node has the tests of package express against the real thing: an
// Express app with express-session and connect-redis beside a Go server, on one
// redis-server, and one browser that visits both. README.md says what is where.
//
//	npm ci        # once
//	go test ./node
package node
