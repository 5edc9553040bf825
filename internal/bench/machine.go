package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/typedsessions/sessions/internal/redistest"
)

// machine says what this runs on.
func machine() string {
	cpu := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`).FindSubmatch(info); m != nil {
			cpu = string(m[1])
		}
	}
	return fmt.Sprintf("%s/%s, %s, %d cores", runtime.GOOS, runtime.GOARCH, cpu, runtime.NumCPU())
}

// load is the load average of the last minute, 0 where nobody says.
func load() (average float64) {
	text, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(text), &average)
	return average
}

func goVersion() string { return strings.TrimPrefix(runtime.Version(), "go") }

// modules are the versions of those that are compared, without the ones that they need.
func modules() map[string]string {
	found := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return found
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/alexedwards/scs/v2", "github.com/alexedwards/scs/goredisstore", "github.com/alexedwards/scs/redisstore",
			"github.com/gorilla/sessions", "github.com/boj/redistore", "github.com/gomodule/redigo",
			"github.com/gin-contrib/sessions", "github.com/gin-gonic/gin",
			"github.com/gofiber/fiber/v3", "github.com/gofiber/storage/redis/v3",
			"github.com/redis/go-redis/v9", "github.com/vmihailenco/msgpack/v5":
			found[dep.Path] = dep.Version
		}
	}
	return found
}

// servers notes which ones there are.
func (b *bench) servers() {
	servers := redistest.Servers(b)
	b.data.Servers = append(b.data.Servers, servers[0].Version)
	if server, ok := newest(b); ok && server.Path != servers[0].Path {
		b.data.Servers = append(b.data.Servers, server.Version)
	}
}

// newest returns a server that knows SET IFEQ.
func newest(b *bench) (redistest.Binary, bool) {
	b.Helper()
	for _, server := range redistest.Servers(b) {
		probe := server.Start(b)
		rdb := redis.NewClient(&redis.Options{Addr: probe.Addr})
		err := rdb.Do(context.Background(), "set", "key", "value", "ifeq", "other").Err()
		rdb.Close()
		probe.Kill()
		if err == nil || err == redis.Nil {
			return server, true
		}
	}
	return redistest.Binary{}, false
}
