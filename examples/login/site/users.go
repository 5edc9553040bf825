package site

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/mail"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// PBKDF2-HMAC-SHA256 with the parameters of OWASP's Password Storage Cheat Sheet. Argon2id is the first choice there, but
// not in the standard library.
const (
	iterations = 600_000
	saltLength = 16
	hashLength = sha256.Size

	minPassword = 15  // NIST SP 800-63B-4 for a password alone. A real site also refuses those of known leaks
	maxPassword = 128 // so that hashing one costs no more than another. Both are in characters, whatever the alphabet
)

// A user is an account.
type user struct {
	id, email, name string
	subject         string // who it is at the provider, for a user who signs in there
	salt, hash      []byte // of the password; none for a user who signs in with the provider
	version         int    // of the password: one more with each change
}

func (u user) hasPassword() bool { return u.subject == "" }

// users are the accounts, in memory: they are gone when the program ends. A real site keeps them in a database.
type users struct {
	iterations int           // lower in tests alone
	hashing    chan struct{} // at most so many passwords are hashed at once, because each takes a CPU
	unknown    user          // in the place of a user who does not exist

	mu      sync.Mutex
	all     map[string]user // by ID
	pending map[[sha256.Size]byte]signUp
}

// A signUp waits for its address to be confirmed.
type signUp struct {
	email   string
	expires time.Time
}

var (
	errTaken    = errors.New("the address has an account")
	errLink     = errors.New("the link is not valid any more")
	errPassword = errors.New("the password is wrong")
)

func newUsers() *users {
	return &users{
		iterations: iterations,
		hashing:    make(chan struct{}, runtime.GOMAXPROCS(0)),
		unknown:    user{salt: make([]byte, saltLength), hash: make([]byte, hashLength)},
		all:        map[string]user{},
		pending:    map[[sha256.Size]byte]signUp{},
	}
}

// readEmail reads an address as the key of an account: in lower case, and without a name beside it.
func readEmail(form string) (email string, ok bool) {
	a, err := mail.ParseAddress(strings.TrimSpace(form))
	if err != nil || a.Name != "" || len(a.Address) > 254 {
		return "", false
	}
	return strings.ToLower(a.Address), true
}

func acceptable(password string) bool {
	n := utf8.RuneCountInString(password)
	return n >= minPassword && n <= maxPassword
}

func (u *users) byID(id string) (user, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	found, ok := u.all[id]
	return found, ok
}

func (u *users) byEmail(email string) (user, bool) {
	return u.find(func(c user) bool { return c.hasPassword() && c.email == email })
}

func (u *users) find(match func(user) bool) (user, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.all { // a database has an index
		if match(c) {
			return c, true
		}
	}
	return user{}, false
}

// check finds the user with an address and a password. It takes the same time for an address that is unknown.
func (u *users) check(email, password string) (user, bool) {
	found, ok := u.byEmail(email)
	if !ok {
		found = u.unknown
	}
	right := u.matches(found, password)
	return found, ok && right
}

// matches is false for a user who has no password.
func (u *users) matches(c user, password string) bool {
	return subtle.ConstantTimeCompare(u.derive(password, c.salt), c.hash) == 1
}

func (u *users) derive(password string, salt []byte) []byte {
	if utf8.RuneCountInString(password) > maxPassword {
		password = "" // nobody has it
	}
	u.hashing <- struct{}{}
	defer func() { <-u.hashing }()
	hash, err := pbkdf2.Key(sha256.New, password, salt, u.iterations, hashLength)
	if err != nil {
		panic(err) // FIPS 140 mode refuses a salt or a key that is too short: ours are not
	}
	return hash
}

// newHash hashes a new password.
func (u *users) newHash(password string) (salt, hash []byte) {
	salt = make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails
	return salt, u.derive(password, salt)
}

// setPassword changes it if the old one is right. If ctx is cancelled until then, nothing has changed.
func (u *users) setPassword(ctx context.Context, c user, old, password string) error {
	if !u.matches(c, old) {
		return errPassword
	}
	salt, hash := u.newHash(password)
	u.mu.Lock()
	defer u.mu.Unlock()
	now, ok := u.all[c.id]
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !ok || now.version != c.version: // deleted or changed meanwhile
		return errPassword
	}
	now.salt, now.hash, now.version = salt, hash, now.version+1
	u.all[c.id] = now
	return nil
}

// unchanged tells whether the user is still there, with the password that was checked.
func (u *users) unchanged(checked user) bool {
	now, ok := u.byID(checked.id)
	return ok && now.version == checked.version
}

func (u *users) delete(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, id)
}

// invite returns the secret for the mail that confirms an address. As with a session's token, only its hash is kept.
func (u *users) invite(email string) (secret string) {
	secret = rand.Text()
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, p := range u.pending {
		if time.Now().After(p.expires) {
			delete(u.pending, key)
		}
	}
	u.pending[sha256.Sum256([]byte(secret))] = signUp{email, time.Now().Add(time.Hour)}
	return secret
}

// invited tells whose address a secret confirms.
func (u *users) invited(secret string) (email string, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p, ok := u.pending[sha256.Sum256([]byte(secret))]
	return p.email, ok && time.Now().Before(p.expires)
}

// accept makes the account of somebody who was invited. The secret is good for one. If ctx is cancelled, there is none.
func (u *users) accept(ctx context.Context, secret, name, password string) (user, error) {
	email, ok := u.invited(secret)
	if !ok {
		return user{}, errLink
	}
	salt, hash := u.newHash(password)
	u.mu.Lock()
	key := sha256.Sum256([]byte(secret))
	_, ok = u.pending[key]
	ok = ok && ctx.Err() == nil
	if ok {
		delete(u.pending, key)
	}
	u.mu.Unlock()
	if !ok {
		return user{}, errLink
	}
	return u.add(user{email: email, name: name, salt: salt, hash: hash})
}

// fromProvider finds the user with a subject of the provider, and makes one at the first time. The address that the
// provider tells is only shown: whoever controls it there must not get the account that somebody has here.
func (u *users) fromProvider(c claims) (user, error) {
	same := func(c2 user) bool { return c2.subject == c.Subject }
	if found, ok := u.find(same); ok {
		return found, nil
	}
	made, err := u.add(user{email: c.Email, name: c.Name, subject: c.Subject, salt: u.unknown.salt})
	if errors.Is(err, errTaken) { // by a request at the same time
		found, _ := u.find(same)
		return found, nil
	}
	return made, err
}

// add keeps a new user.
func (u *users) add(c user) (user, error) {
	c.id = rand.Text()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, other := range u.all {
		if c.subject == other.subject && (c.subject != "" || c.email == other.email) {
			return user{}, errTaken
		}
	}
	u.all[c.id] = c
	return c, nil
}

// AddUser makes an account with a password that it draws.
func (s *Site) AddUser(email, name string) (password string, err error) {
	password = rand.Text()
	salt, hash := s.users.newHash(password)
	_, err = s.users.add(user{email: email, name: name, salt: salt, hash: hash})
	return password, err
}
