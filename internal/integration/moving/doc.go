// Package moving is the code of docs/moving.md, docs/from-scs.md and docs/from-gorilla.md, tested beside the real
// libraries: users of another session library stay signed in while an app moves to this one.
package moving
