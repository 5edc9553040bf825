package moving_test

import (
	"testing"

	"github.com/typedsessions/sessions/internal/redistest"
)

func TestBuilds(t *testing.T) {
	server := redistest.Start(t)
	for _, test := range []struct{ name, script string }{
		{"a session is adopted", "old+ann beside=ann beside=ann"},
		{"its user stays signed in in both builds", "old+ann beside=ann old=ann beside=ann old=ann"},
		{"its data come along", "old+ann old.pear beside~pear"},
		{"nobody's session is not adopted", "old.pear beside= beside~ old~pear"},
		{"a sign-out in an old build is one in a new one", "old+ann beside=ann old- beside= old="},
		{"a sign-out in a new build is one in an old one", "old+ann beside=ann beside- old= beside="},
		{"a sign-in in a new build is one in an old one", "beside+ann old=ann beside=ann"},
		{"and so are its sign-outs", "beside+ann old=ann old- beside= beside+ann beside- old="},
		{"another user signs in in an old build", "old+ann old.pear beside=ann beside.apple old- old+bob beside=bob beside~"},
		{"another user signs in in an old build without a sign-out", "old+ann beside=ann old+bob beside=bob"},
		{"another user signs in in a new build", "old+ann old.pear beside=ann beside+bob old=bob old~ beside=bob beside~"},
		{"back to the old builds", "old+ann beside=ann beside.pear old=ann old- beside+ann old=ann"},
		{"without old builds a session is adopted", "old+ann after=ann after=ann"},
		{"and its sign-out ends the old one", "old+ann after=ann after- after= old="},
		{"a sign-in ends the old session", "old+ann after+bob after=bob old= after- after="},
		{"the same user signs in again", "old+ann beside=ann beside+ann beside=ann old=ann after+ann after=ann old="},
		{"a sign-out in an old build in the first minute", "old+ann after=ann old- after="},
		{"new builds of both kinds", "after+ann beside=ann after=ann beside- after= old+ann after=ann beside=ann after=ann"},
	} {
		for _, l := range libraries {
			t.Run(test.name+"/"+l.name, func(t *testing.T) {
				onRedis(t, l, server).browser().do(t, test.script)
			})
		}
	}
}
