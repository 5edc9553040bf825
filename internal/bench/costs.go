package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/internal/redistest"
)

// costs counts the commands of a request, on their way to the server, and asks the server how long they took it. What a
// script calls is part of the script.
func (b *bench) costs() {
	servers := redistest.Servers(b)[:1]
	if server, ok := newest(b); ok && server.Path != servers[0].Path {
		servers = append(servers, server)
	}
	for _, server := range servers {
		addr := server.Start(b).Addr
		proxy := redistest.NewProxy(b, addr)
		for _, size := range b.some(300, 4<<10, 64<<10) {
			for _, o := range ops {
				for _, s := range subjectsOf(o) {
					b.cost(server, addr, proxy, s, o, size)
				}
				if o == changed && server.Path != servers[0].Path {
					b.cost(server, addr, proxy, named(handsIFEQ)[0], o, size)
				}
				if err := hasExpress(); err == nil && o != none {
					b.cost(server, addr, proxy, expressApp(b), o, size)
				}
			}
			flush(b, addr)
			b.progress("the server's time, %s, %d bytes", server.Version, size)
		}
	}
}

func (b *bench) cost(server redistest.Binary, addr string, proxy *redistest.Proxy, s subject, o op, size int) {
	b.Helper()
	if !b.wants(star{"server", o, float64(size), 1}, s.name) {
		return
	}
	opened, err := s.open(setting{Redis: proxy.Addr, Size: size, Conns: 1})
	must(b, err)
	defer opened.close()
	call, err := opened.caller(o)
	if err != nil {
		b.Fatalf("%s: %v", s.name, err)
	}
	for range 3 { // the first one loads scripts, or asks what the server knows
		must(b, call())
	}
	var mu sync.Mutex
	commands := map[string]float64{}
	proxy.On(func(cmd []string) redistest.Action {
		mu.Lock()
		defer mu.Unlock()
		commands[strings.ToLower(cmd[0])]++
		return redistest.Pass
	})
	defer proxy.On(nil)
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	ctx := context.Background()
	must(b, rdb.ConfigResetStat(ctx).Err())
	n := 0
	for end := time.Now().Add(b.segment); n < 20 || !b.quick && time.Now().Before(end); n++ {
		if err := call(); err != nil {
			b.Fatalf("%s: %v", s.name, err)
		}
	}
	proxy.On(nil)
	stats, err := rdb.Info(ctx, "commandstats").Result()
	must(b, err)
	c := Cost{Server: server.Version, Op: string(o), Size: size, Subject: s.name, Commands: commands}
	for name, usec := range serverTimes(stats) {
		if commands[name] > 0 {
			c.Micros += usec / float64(n)
		}
	}
	for name := range commands {
		commands[name] /= float64(n)
	}
	b.data.Costs = append(b.data.Costs, c)
}

var commandStat = regexp.MustCompile(`(?m)^cmdstat_([a-z|]+):calls=\d+,usec=(\d+)`)

// serverTimes are the microseconds that each command took.
func serverTimes(stats string) map[string]float64 {
	times := map[string]float64{}
	for _, m := range commandStat.FindAllStringSubmatch(stats, -1) {
		usec, _ := strconv.ParseFloat(m[2], 64)
		times[m[1]] += usec
	}
	return times
}

// memories stores some thousand sessions of each, and asks the server what they take.
func (b *bench) memories() {
	addr := redistest.Start(b).Addr
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	all := append(named(hands, handsJSON, here, hereJSON, hereExpress, scsName, gorillaName, ginName, fiberName), owned(sessions.MsgPack{}))
	if hasExpress() == nil {
		all = append(all, expressApp(b))
	}
	n := min(b.largest, 5000)
	for _, size := range b.some(300, 4<<10) {
		for _, s := range all {
			if b.wants(star{"memory", begun, float64(size), 1}, s.name) {
				b.memory(rdb, setting{Redis: addr, Size: size, Conns: 1}, s, n)
			}
		}
		b.progress("memory of %d sessions of %d bytes", n, size)
	}
}

func (b *bench) memory(rdb *redis.Client, c setting, s subject, n int) {
	b.Helper()
	ctx := context.Background()
	opened, err := s.open(c)
	must(b, err)
	defer opened.close()
	call, err := opened.caller(begun)
	must(b, err)
	must(b, call()) // its connection, and scripts
	must(b, rdb.FlushAll(ctx).Err())
	before := b.usedMemory(rdb)
	for range n {
		must(b, call())
	}
	m := Memory{Subject: s.name, Size: c.Size, Used: (b.usedMemory(rdb) - before) / float64(n)}
	for m.Value == 0 { // until it is a session, not an owner's list
		key, err := rdb.RandomKey(ctx).Result()
		must(b, err)
		if m.Value, err = rdb.StrLen(ctx, key).Result(); redis.HasErrorPrefix(err, "WRONGTYPE") {
			continue
		}
		must(b, err)
		m.Key, err = rdb.MemoryUsage(ctx, key).Result()
		must(b, err)
	}
	must(b, rdb.FlushAll(ctx).Err())
	b.data.Memories = append(b.data.Memories, m)
}

func (b *bench) usedMemory(rdb *redis.Client) float64 {
	b.Helper()
	info, err := rdb.InfoMap(context.Background(), "memory").Result()
	must(b, err)
	used, err := strconv.ParseFloat(info["Memory"]["used_memory"], 64)
	must(b, err)
	if used == 0 {
		must(b, fmt.Errorf("INFO memory has no used_memory"))
	}
	return used
}
