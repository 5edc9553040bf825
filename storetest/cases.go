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

	// Those of an OwnerStore.
	{
		name:  "S9 S19 bytes handed to a Place and out of it are not shared",
		why:   "callers reuse and change their buffers; a session must not change with them",
		check: withOwners(checkPlaceSharing),
	},
	{
		name:  "S12 a cancelled context gives its error and changes no index",
		why:   "a caller that was told of an error must be able to rely on it",
		check: withOwners(checkOwnerContext),
	},
	{
		name:  "S13 neighbours on one server have indexes of their own",
		why:   "two programs on one server must not list or end each other's sessions",
		check: withOwners(checkOwnerNeighbour),
	},
	{
		name:  "S14 no goroutine is left behind by an OwnerStore",
		why:   "a goroutine per call that stays is a leak that ends the process",
		check: withOwners(checkOwnerGoroutines),
	},
	{
		name:  "S17 LoadMany gives values and times in the order of the keys",
		why:   "a list of devices that mixes them up shows one session's name and time beside the button that ends another; and to look at a session is no use of it",
		check: withOwners(checkLoadMany),
	},
	{
		name:  "S17 LoadMany with first may cut, but not shorter",
		why:   "a header that was cut cannot be read, so that a live session would look ended; so would an empty value that is nil",
		check: withOwners(checkLoadManyCut),
	},
	{
		name:  "S17 LoadMany of thousands of keys",
		why:   "who watches many connections asks about all of them at once",
		check: withOwners(checkLoadManyMany),
	},
	{
		name:  "S18 Members are in the order of their scores, then of their bytes",
		why:   "who compares what was read with what is there, as a limit does, needs one order; the oldest session is the first",
		check: withOwners(checkMembers),
	},
	{
		name:  "S19 Place stores, and puts on the index",
		why:   "a session that lives and is not listed is one that its user cannot end",
		check: withOwners(checkPlaceNew),
	},
	{
		name:  "S19 Place replaces what it compares, and the member",
		why:   "a renewal that loses the entry makes its session invisible; one that keeps the old entry lists a ghost",
		check: withOwners(checkPlaceOld),
	},
	{
		name:  "S19 a Place of which one condition fails changes nothing",
		why:   "half of a sign-in is a session without an entry, or an entry without a session",
		check: withOwners(checkPlaceConditions),
	},
	{
		name:  "S19 Place takes off members without a value",
		why:   "sessions expire by themselves: the index must shrink without a background job, and no live session may leave it",
		check: withOwners(checkPlacePrunes),
	},
	{
		name:  "S19 of concurrent Places that replace one value exactly one wins",
		why:   "two winners are two sessions of one renewal",
		check: withOwners(checkConcurrentRenewal),
	},
	{
		name:  "S20 Place at a limit knows all members, or is ErrConflict",
		why:   "a limit that goes by an older list lets more sessions live than it allows",
		check: withOwners(checkLimitMembers),
	},
	{
		name:  "S20 Place at a limit ends the oldest live ones",
		why:   "a new session must not evict itself, nor more than its place takes; what has expired takes no room",
		check: withOwners(checkLimitEvicts),
	},
	{
		name:  "S20 Place with Reject is ErrOwnerLimit at the limit",
		why:   "who was refused must find all as it was, and a renewal needs no room",
		check: withOwners(checkLimitRejects),
	},
	{
		name:  "S20 Place at a limit among a thousand members",
		why:   "that many fit one step of the store",
		check: withOwners(checkLimitMany),
	},
	{
		name:  "S20 of concurrent Places at a limit exactly one wins",
		why:   "two winners that know one list exceed the limit together, or evict the same one twice",
		check: withOwners(checkConcurrentLimit),
	},
	{
		name:  "S21 an index expires at the latest time it was given",
		why:   "one that ends early loses sessions from the list; one that never ends stays on the server for ever",
		check: withOwners(checkIndexExpiry),
	},
	{
		name:  "S21 a TTL of zero or less is refused for an index",
		why:   "nothing is ever stored without an expiry",
		check: withOwners(checkIndexTTL),
	},
	{
		name:  "S22 Relist puts a live session on the index again",
		why:   "an index that was evicted heals so; but what has ended must not be listed",
		check: withOwners(checkRelist),
	},
	{
		name:  "S22 a Relist that races an End brings nothing back",
		why:   "a session that was ended from the list has ended, whatever other requests were doing",
		check: withOwners(checkRaceRelist),
	},
	{
		name:  "S23 Revoke ends what is relisted later and was created before",
		why:   "a session that was missing in the list when all were ended must not outlive that",
		check: withOwners(checkRevoke),
	},
	{
		name:  "S23 after a Revoke no unlisted session of before is renewed",
		why:   "a renewal would take a session past the time that ends it",
		check: withOwners(checkRevokedPlace),
	},
	{
		name:  "S23 a Relist that races a Revoke is listed or ended",
		why:   "an unlisted session that lives after its user has ended all is one that nobody ends",
		check: withOwners(checkRaceRevoke),
	},
	{
		name:  "S24 End deletes the values of members, and takes them off",
		why:   "who signs a device out has signed it out; a member that another request has replaced meanwhile is not to be ended under its old key",
		check: withOwners(checkEnd),
	},
	{
		name:  "S24 End of thousands of members",
		why:   "a user's sessions are ended in one call, however many they are",
		check: withOwners(checkEndMany),
	},
	{
		name:  "S24 an End that races a renewal ends the old session or leaves the new one",
		why:   "a renewal that is half ended leaves a session that is alive and unlisted, and an ending that is told twice is counted twice",
		check: withOwners(checkRaceEnd),
	},
}
