// Package upgrades runs Handler beside the libraries that write responses past its writer: WebSocket upgraders, and
// routers with a writer of their own.
package upgrades
