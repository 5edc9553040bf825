package storetest

var cases = []testCase{
	{
		name:  "S5 Load with touch 0 leaves the expiry alone",
		why:   "requests that only poll must not keep a session alive; and an expiry of 0 means PERSIST to Redis's GETEX: it would make the session immortal",
		check: checkPassiveLoad,
	},
	{
		name:  "S1 Load of nothing is ErrNotFound",
		why:   "a token from a visitor must never become a key, and anything but ErrNotFound would be answered 503",
		check: checkLoadMissing,
	},
	{
		name:  "S2 Create on an existing key is ErrExists",
		why:   "a Create that overwrites would hand one visitor's session to another",
		check: checkCreateExisting,
	},
	{
		name:  "S3 CompareAndSwap on a missing key is ErrNotFound",
		why:   "a request that was slow to save must not bring a session back that was signed out meanwhile",
		check: checkSwapMissing,
	},
	{
		name:  "S4 CompareAndSwap with another prefix is ErrConflict",
		why:   "the first bytes identify a write: without the comparison one request loses the other's changes, and without the current value it cannot merge them",
		check: checkSwapConflict,
	},
	{
		name:  "S4 CompareAndSwap with the value's prefix replaces it",
		why:   "the prefix is only compared; the new value is data, whole, whatever the lengths",
		check: checkSwapMatch,
	},
	{
		name:  "S6 the TTL is right after every write and touch",
		why:   "the store's TTL is what enforces the idle timeout",
		check: checkTTL,
	},
	{
		name:  "S6 a TTL of zero or less is refused",
		why:   "nothing is ever stored without an expiry: such a key would never leave the server, such a session never end",
		check: checkNoTTL,
	},
	{
		name:  "S6 a TTL below the server's resolution is no error",
		why:   "what is left of a Lifetime can be a microsecond; rounded down to 0 it is an error to Redis, or no expiry at all",
		check: checkShortTTL,
	},
	{
		name:  "S7 expired is not found",
		why:   "a session that has expired has ended for reading, touching and saving alike; only Create starts another under its key",
		check: checkExpired,
	},
	{
		name:  "S8 Delete twice is no error",
		why:   "a sign-out that is repeated, or whose first reply was lost, has succeeded",
		check: checkDelete,
	},
	{
		name:  "S9 bytes handed in and out are not shared",
		why:   "callers reuse and change their buffers; a session must not change with them",
		check: checkSharing,
	},
	{
		name:  "S10 keys are opaque bytes",
		why:   "two keys that a store confuses are two visitors with one session",
		check: checkKeys,
	},
	{
		name:  "S10 values and prefixes are opaque bytes",
		why:   "a codec may produce any byte, and a record that comes back different is a session lost",
		check: checkValues,
	},
	{
		name:  "S10 a value of a megabyte",
		why:   "Config.MaxSize is the limit, not the store",
		check: checkLarge,
	},
	{
		name:  "S11 of concurrent CompareAndSwaps exactly one wins",
		why:   "two winners are a lost update: each believes that its change is stored",
		check: checkConcurrentSwap,
	},
	{
		name:  "S11 of concurrent Creates exactly one wins",
		why:   "two winners are two visitors in one session",
		check: checkConcurrentCreate,
	},
	{
		name:  "S11 nothing that races a Delete brings the key back",
		why:   "a sign-out that has been confirmed must hold, whatever other requests were doing",
		check: checkRaceDelete,
	},
	{
		name:  "S11 a touch that races a CompareAndSwap loses nothing",
		why:   "a touch made of a read and a write would write back the old value",
		check: checkRaceTouch,
	},
	{
		name:  "S12 a done context gives its error and changes nothing",
		why:   "a visitor who hung up is not an outage, and a caller that was told of an error must be able to rely on it",
		check: checkContext,
	},
	{
		name:  "S13 neighbours on one server are isolated",
		why:   "two programs on one server must not read, change or end each other's sessions",
		check: checkNeighbour,
	},
	{
		name:  "S14 no goroutine is left behind",
		why:   "a goroutine per call that stays is a leak that ends the process",
		check: checkGoroutines,
	},
	{
		name:  "S15 CompareAndSwap with nil data deletes",
		why:   "a sign-out deletes what it has read, and must see it when a renewal has put its mark there first",
		check: checkSwapDelete,
	},
}
