package peers_test

// A cell says what a peer does with a promise.
type cell struct {
	verdict verdict
	why     string // the shortest true explanation, from the peer's code
}

type verdict int

const (
	keeps verdict = iota
	failing
	notApplicable
)

var kept = cell{}

func fails(why string) cell { return cell{failing, why} }
func na(why string) cell    { return cell{notApplicable, why} }

// A row is a promise and how to tell whether it is kept: play returns what
// broke. The number is that of the requirements.
type row struct {
	number, promise string
	play            func(w *world) error
	cells           [len(peers) - 1]cell // in the order of peers; ours, the last, keeps all
	defaults        bool                 // time matters: ours with its default Timeout, else with a generous one
}

var table = []row{
	{
		"C1", "a slow request that changes something does not bring back a session that has been signed out", slowAfterSignOut("/set?k=Theme&v=dark"),
		[...]cell{fails("the commit is a SET"), fails("Save is a SETEX"), fails("the middleware saves with SET")},
		false,
	},
	{
		"C1", "a slow request that only reads does not bring back a session that has been signed out", slowAfterSignOut("/read?k=User"),
		[...]cell{fails("IdleTimeout makes every read a SET"), kept, fails("every request ends with a SET")},
		false,
	},
	{
		"C1", "a slow request that counts does not bring back a session that has been signed out (ours with Update)", slowAfterSignOut("/increment"),
		[...]cell{fails("the commit is a SET"), fails("Save is a SETEX"), fails("the middleware saves with SET")},
		false,
	},
	{
		"C2", "a write that was on its way already does not bring back a session that has been signed out", signOutBeforeWrite,
		[...]cell{fails("the SET is unconditional"), fails("the SETEX is unconditional"), fails("the SET is unconditional")},
		false,
	},
	{
		"C3", "the response to a slow request leaves a signed-out browser signed out", signedInAgain,
		[...]cell{fails("it sends the cookie again, over the record that it has restored"), fails("Save always sends the cookie"), fails("every response sends the cookie")},
		false,
	},
	{
		"C4", "a slow change under the old token does not revive it after a renewal", slowAfterRenewal,
		[...]cell{fails("it stores its copy under the old token"), fails("it stores its copy under the old ID"), fails("it stores its copy under the old ID")},
		false,
	},
	{
		"C14", "the response to a slow change does not overwrite the cookie of a renewal", cookieAfterRenewal("/set?k=Theme&v=dark"),
		[...]cell{fails("every commit sends its token"), fails("Save always sends the cookie"), fails("every response sends the cookie")},
		false,
	},
	{
		"C14", "the response to a slow read does not overwrite the cookie of a renewal", cookieAfterRenewal("/read?k=User"),
		[...]cell{fails("IdleTimeout makes every read a commit"), kept, fails("every response sends the cookie")},
		false,
	},
	{
		"C5", "two renewals at once leave one session", twoRenewals,
		[...]cell{fails("each stores its own copy"), fails("by hand: each stores its own copy"), fails("each stores its own copy")},
		false,
	},
	{
		"C15", "a sign-out during a renewal ends both tokens", signOutDuringRenewal,
		[...]cell{fails("between DEL and SET there is nothing to sign out"), fails("by hand: between DEL and SETEX there is nothing to sign out"), fails("between DEL and SET there is nothing to sign out")},
		false,
	},
	{
		"C16", "a sign-out with a token that was renewed a moment ago ends the session", signOutWithOldToken,
		[...]cell{fails("DEL of the old key only"), fails("DEL of the old key only"), fails("DEL of the old key only")},
		false,
	},
	{
		"C18", "a sign-in form that is submitted twice: both cookies are the user's, whichever arrives last", twoSignIns,
		[...]cell{kept, kept, kept},
		false,
	},
	{
		"L20", "the session is signed out while the visitor signs in: the sign-in works", signInAfterSignOut,
		[...]cell{kept, kept, kept},
		false,
	},
	{
		"L21", "the browser sends two valid cookies of the name: after a sign-in it is the user's", signInBesideAnother,
		[...]cell{fails("it takes the first cookie alone, and the renewal has deleted what that stood for"), fails("it takes the first cookie alone; by hand: the renewal has deleted what that stood for"), fails("it takes the first cookie alone, and the renewal has deleted what that stood for")},
		false,
	},
	{
		"C7", "two requests change different fields: both changes survive", twoFields,
		[...]cell{fails("the whole map is written"), fails("the whole map is written"), fails("the whole map is written")},
		false,
	},
	{
		"C7", "64 requests change a field each: all 64 survive", manyFields(1),
		[...]cell{fails("the last map wins"), fails("the last map wins"), fails("the last map wins")},
		false,
	},
	{
		"C7", "64 requests to two servers change a field each: all 64 survive", manyFields(2),
		[...]cell{fails("the last map wins"), fails("the last map wins"), fails("the last map wins")},
		false,
	},
	{
		"C8", "two requests change the same field: it has one of the two values", sameField,
		[...]cell{kept, kept, kept},
		false,
	},
	{
		"C9", "100 increments at once count 100 (ours with Update)", manyIncrements(1),
		[...]cell{fails("no atomic update"), fails("no atomic update"), fails("no atomic update")},
		false,
	},
	{
		"C9", "100 increments at once on two servers count 100 (ours with Update)", manyIncrements(2),
		[...]cell{fails("no atomic update"), fails("no atomic update"), fails("no atomic update")},
		false,
	},
	{
		"C10", "the reply that a new session is stored gets lost: the visitor has it, and there is no other", lostReplyToCreate,
		[...]cell{kept, fails("redigo does not repeat: an error, and a record that nobody has the token of"), kept},
		false,
	},
	{
		"C10", "the reply that a change is stored gets lost: no error", lostReplyToChange,
		[...]cell{kept, fails("redigo does not repeat: an error for a change that stands"), kept},
		false,
	},
	{
		"C10", "a reply gets lost and another server writes before the change is repeated: both changes stand", lostReplyOvertaken,
		[...]cell{fails("go-redis sends the SET again, over the newer record"), fails("redigo does not repeat: an error for a change that stands"), fails("go-redis sends the SET again, over the newer record")},
		false,
	},
	{
		"C13", "after a load that failed, nothing overwrites the record", failedLoad,
		[...]cell{kept, fails("Get gives an empty session along with the error, which its README drops; Save stores that"), kept},
		false,
	},
	{
		"L12", "after a renewal the new token has the data and the old one is refused", renewed,
		[...]cell{kept, kept, kept},
		false,
	},
	{
		"L12", "a renewal that Redis refuses to store leaves a valid token", renewalFails,
		[...]cell{fails("RenewToken deletes the old record first"), na("no renewal of its own"), fails("Regenerate deletes the old record first")},
		false,
	},
	{
		"L11", "what is written after the sign-out, in the same request, is a session of its own", startAnew,
		[...]cell{kept, fails("New takes the ID of the old cookie"), fails("what is set after Destroy is dropped")},
		false,
	},
	{
		"T2", "a token that belongs to no session is never adopted", adoptGoneToken,
		[...]cell{kept, fails("a signed ID is used though its record is gone"), kept},
		false,
	},
	{
		"L3", "a read writes nothing", readWrites,
		[...]cell{fails("IdleTimeout makes every read a SET"), kept, fails("every request ends with a SET")},
		false,
	},
	{
		"L4", "a read keeps the session alive", readTouches,
		[...]cell{kept, fails("only Save restarts the time"), kept},
		false,
	},
	{
		"F1", "Redis does not answer: the visitor is answered within 2.5 s all the same", hangingLoad,
		[...]cell{fails("go-redis gives up after 10 s"), fails("redigo has no read timeout"), fails("go-redis gives up after 10 s")},
		true,
	},
	{
		"F10", "ten writers of a session, and Redis hangs after they have loaded it: the last is answered within 2.5 s", hangingSaves,
		[...]cell{fails("go-redis gives up after 10 s"), fails("redigo has no read timeout"), fails("go-redis gives up after 10 s")},
		true,
	},
	{
		"F3", "the client hangs up while the handler runs: what it changes is saved", hangUpBeforeSave,
		[...]cell{fails("the commit uses the request's context"), kept, kept},
		false,
	},
	{
		"F3", "the client hangs up during the save: saved", hangUpMidSave,
		[...]cell{kept, kept, kept},
		false,
	},
	{
		"F2", "a new session that cannot be stored: no cookie for it", failedCreate,
		[...]cell{kept, kept, fails("the cookie is set before the save")},
		false,
	},
	{
		"W7", "a failed save sends an error and nothing of the page", failedSaveBody,
		[...]cell{fails("the page follows the error"), kept, kept},
		false,
	},
	{
		"W7", "a failed save sends no header that describes the page", failedSaveHeader,
		[...]cell{fails("they stay"), na("the handler saves, then answers"), fails("they stay")},
		false,
	},
	{
		"W14", "a failed save inside a compressor, which has set Content-Encoding before: the error is what its header says", failedSaveCompressed,
		[...]cell{kept, kept, kept},
		false,
	},
	{
		"W6", "a change after the first byte of the response is saved", lateChange,
		[...]cell{fails("the first byte commits, nothing after it"), na("the handler saves when it likes"), kept},
		false,
	},
	{
		"W12", "a helper goroutine looked at the session under a context whose time is up: the change is saved", helperUnderTimeout,
		[...]cell{kept, kept, kept},
		false,
	},
	{
		"W13", "a panic, and a framework answers for it by the library's writer: nothing of the half-done change is saved", panicking("inner"),
		[...]cell{fails("the first byte commits, also after a panic"), kept, kept},
		false,
	},
	{
		"W13", "a panic, and a framework answers for it outside: nothing of the half-done change is saved", panicking("outer"),
		[...]cell{kept, kept, kept},
		false,
	},
	{
		"W15", "a session that begins in the request of a WebSocket: its cookie is in the 101, or it is not stored, or somebody is told", newBeforeUpgrade,
		[...]cell{fails("it commits after the handler, into a header that has gone"), fails("the cookie of Save is not in the 101 that the upgrade writes"), kept},
		false,
	},
	{
		"W15", "a sign-in in the request of a WebSocket: its cookie is in the 101, or somebody is told", signInBeforeUpgrade,
		[...]cell{fails("it commits after the handler, into a header that has gone"), fails("the cookie of Save is not in the 101 that the upgrade writes"), kept},
		false,
	},
	{
		"W15", "a handler writes past the library's writer, to a framework's that says Written, as gin's does: no session that nobody has the cookie of", writePast,
		[...]cell{fails("it commits after the handler, into a header that has gone"), kept, na("one response, and no writer to go past")},
		false,
	},
	{
		"T14", "a form that another site posts, without the cookie, leaves the visitor signed in", foreignForm,
		[...]cell{fails("a request without the cookie gets a new one, wherever it comes from"), fails("Save sends a new one (without SameSite: in browsers to which that is Lax)"), fails("a request without the cookie gets a new one, wherever it comes from")},
		false,
	},
	{
		"T14", "an image in another site's page stores no session that nobody has the cookie of", foreignImage,
		[...]cell{fails("a session for each such request"), fails("a session for each such request (without SameSite: in browsers to which that is Lax)"), fails("a session for each such request")},
		false,
	},
	{
		"T9", "a page that read the session and says Last-Modified alone is not for a shared cache", sharedCache("/article"),
		[...]cell{fails("Vary: Cookie, and no Cache-Control but no-cache for Set-Cookie"), fails("neither Cache-Control nor Vary"), fails("neither Cache-Control nor Vary")},
		false,
	},
	{
		"T9", "a page that looks at the session after its first byte and says Last-Modified alone is not for a shared cache", sharedCache("/article/late"),
		[...]cell{fails("Vary: Cookie, and no Cache-Control but no-cache for Set-Cookie"), fails("neither Cache-Control nor Vary"), fails("neither Cache-Control nor Vary")},
		false,
	},
}
