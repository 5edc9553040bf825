// Package browser has the tests of the cookie in a real browser: Chromium decides which requests carry it, which
// responses may set it, and what a script sees of it. examples/login is tested here too, in two profiles. README.md of internal/integration says how to get one.
//
//	go test ./browser
package browser
