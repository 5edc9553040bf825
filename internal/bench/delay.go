package bench

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// delayed passes on what arrives at l, each byte as much later as oneWay says, in both directions. It is a line of a fixed
// latency, not a slow one: what follows at once arrives at once.
func delayed(l net.Listener, target string, oneWay time.Duration) error {
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
			go carry(ends[0], ends[1], oneWay)
		}
	}
}

func carry(from, to net.Conn, oneWay time.Duration) {
	type packet struct {
		data []byte
		due  time.Time
	}
	line := make(chan packet, 1024)
	var sender sync.WaitGroup
	sender.Go(func() {
		for p := range line {
			wait(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			line <- packet{append([]byte(nil), buf[:n]...), time.Now().Add(oneWay)}
		}
		if err != nil {
			break
		}
	}
	close(line)
	sender.Wait()
	to.Close()
}

// wait asks the kernel, because an idle Go program wakes up a millisecond late.
func wait(d time.Duration) {
	if d > 0 {
		left := syscall.NsecToTimespec(d.Nanoseconds())
		syscall.Nanosleep(&left, nil)
	}
}
