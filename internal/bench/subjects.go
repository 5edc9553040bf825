package main

import (
	"time"

	"github.com/typedsessions/sessions"
)

// The names of the subjects, as the page has them.
const (
	bare           = "bare commands"
	barePipelined  = "bare commands, AutoPipeline"
	hands          = "by hand"
	handsJSON      = "by hand, JSON"
	handsPipelined = "by hand, AutoPipeline"
	handsScript    = "by hand, EVALSHA"
	handsIFEQ      = "by hand, IFEQ"

	here          = "sessions"
	hereJSON      = "sessions, JSON"
	herePipelined = "sessions, AutoPipeline"
	hereExpress   = "sessions, package express"
	hereInterval  = "sessions, TouchInterval"
	hereNear      = "sessions, NearCache"

	scsName        = "scs"
	scsRedigo      = "scs, redisstore"
	scsNoIdle      = "scs, no idle timeout"
	gorillaName    = "gorilla"
	gorillaReads   = "gorilla, reads do not save"
	ginName        = "gin-contrib"
	ginReads       = "gin-contrib, reads do not save"
	fiberName      = "fiber"
	expressSession = "Express"
)

// subjects are all that are written in Go.
var subjects = []subject{
	byHand(bare, nil, set, direct),
	byHand(barePipelined, nil, set, together),
	byHand(hands, handMsgPack, set, direct),
	byHand(handsJSON, handJSON, set, direct),
	byHand(handsPipelined, handMsgPack, set, together),
	byHand(handsScript, handMsgPack, evalsha, direct),
	byHand(handsIFEQ, handMsgPack, ifeq, direct),

	ours(here, sessions.MsgPack{}, direct),
	ours(hereJSON, sessions.JSON{}, direct),
	ours(herePipelined, sessions.MsgPack{}, togetherAsync),
	ours(hereInterval, sessions.MsgPack{}, direct, func(c *sessions.Config) { c.TouchInterval = 10 * time.Minute }),
	oursAsExpress(hereExpress),

	scsOn(scsName, true, goRedis),
	scsOn(scsRedigo, true, redigoRedis),
	scsOn(scsNoIdle, false, goRedis),
	gorilla(gorillaName, true),
	gorilla(gorillaReads, false),
	ginOn(ginName, true),
	ginOn(ginReads, false),
	fiberOwn(fiberName),
}

// named returns the subjects of these names.
func named(names ...string) []subject {
	var found []subject
	for _, name := range names {
		for _, s := range subjects {
			if s.name == name {
				found = append(found, s)
			}
		}
	}
	if len(found) != len(names) {
		panic("a subject of these has no such name: " + names[0])
	}
	return found
}
