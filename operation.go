package sessions

// An operation is what a verb or a commit may do, and what follows from its failure.
type operation struct {
	name string // in events
	// saves: it stores T. It does not run while a sign-in has failed, and its error is what Handler knows
	// when the response begins.
	saves bool
	// signs: it stores T under a new token. If it fails, nothing is saved until one succeeds.
	signs bool
	// reads: it saves nothing, so its failure is no EventFailed.
	reads bool
	// ends: it also works on a session that has ended elsewhere.
	ends bool
	// pending: its success does not settle the error of another verb.
	pending bool
}

var (
	opLoad    = &operation{name: "load"}
	opCommit  = &operation{name: "commit", saves: true}
	opSave    = &operation{name: "save", saves: true}
	opUpdate  = &operation{name: "update", saves: true}
	opReload  = &operation{name: "reload", reads: true}
	opTouch   = &operation{name: "touch", reads: true, pending: true}
	opSignIn  = &operation{name: "sign in", signs: true}
	opRenew   = &operation{name: "renew", signs: true}
	opDestroy = &operation{name: "destroy", ends: true}
)
