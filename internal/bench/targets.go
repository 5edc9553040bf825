package main

import "fmt"

// A target is what the library has set itself, and what became of it.
type target struct {
	What     string
	Want     string
	Measured string
	Met      string // yes, no, or why nobody knows
	Beside   string // other figures to judge it by
}

// targets are compared with what was measured.
func (d *Data) targets() []target {
	many := func(o op, subject, base string) ratio { return d.ratio("requests", o, 0, usualInFlight, subject, base) }
	allocs := func(o op) figure {
		own, ok := find(d.times("requests", o, 0, 1), here)
		zero, ok2 := find(d.times("requests", none, 0, 1), bare)
		return figure{own.Allocs - zero.Allocs, ok && ok2}
	}
	ifeqOurs := d.ratio("ifeq", changed, usualSize, usualInFlight, here, handsIFEQ)
	near := many(read, hereNear, bare)
	http := d.ratio("http", read, 0, usualInFlight, hands, here)
	pipelined, floor := many(read, herePipelined, bare), many(read, herePipelined, handsPipelined)
	return []target{
		most("a read, beside the same by hand", 1.2, many(read, here, hands), beside("bare GETEX", many(read, here, bare))),
		mostAllocs("a read", 30, allocs(read)),
		most("a changed request by the script, beside the same by hand with a script", 1.25, many(changed, here, handsScript),
			beside("by hand with a plain SET", many(changed, here, hands))+"; "+beside("bare GETEX and SET", many(changed, here, bare))),
		most("a changed request by SET … IFEQ, beside the same by hand", 1.25, ifeqOurs,
			beside("by hand with a plain SET", d.ratio("ifeq", changed, usualSize, usualInFlight, here, hands))),
		mostAllocs("a changed request", 46, allocs(changed)),
		most("a read of JSON, beside one of msgpack", 1.2, many(read, hereJSON, here), beside("JSON by hand", many(read, hereJSON, handsJSON))),
		least("scs, beside this library, a read", 3.3, many(read, scsName, here), beside("without its idle timeout", many(read, scsNoIdle, here))),
		least("gorilla, beside this library, a read", 3.5, many(read, gorillaName, here), beside("if reads do not save", many(read, gorillaReads, here))),
		least("over HTTP: the share of the requests a second of a server by hand, a read", 0.9, http,
			beside("of one with bare GETEX", d.ratio("http", read, 0, usualInFlight, bare, here))),
		mostAllocs("a request without a cookie", 2, allocs(none)),
		most("a read with the near cache, beside a bare GETEX", 0.3, near, ""),
		either("a read through AutoPipeline, beside a bare GETEX", 0.9, pipelined, "by hand through AutoPipeline", 1.2, floor),
	}
}

// A figure is a number, if it was measured.
type figure struct {
	value float64
	ok    bool
}

// A ratio is a figure: how many times as long as another one a subject takes.
type ratio = figure

func (d *Data) ratio(group string, o op, at float64, inFlight int, subject, base string) ratio {
	times := d.times(group, o, at, inFlight)
	own, ok := find(times, subject)
	other, ok2 := find(times, base)
	if !ok || !ok2 {
		return ratio{}
	}
	return ratio{own.beside(other), true}
}

func (f figure) String() string {
	if !f.ok {
		return "–"
	}
	return fmt.Sprintf("%.2f", f.value)
}

func beside(base string, r ratio) string {
	if !r.ok {
		return ""
	}
	return fmt.Sprintf("%v × %s", r, base)
}

func verdict(f figure, met bool) string {
	switch {
	case !f.ok:
		return "not measured"
	case met:
		return "met"
	default:
		return "**not met**"
	}
}

func most(what string, limit float64, r ratio, beside string) target {
	return target{what, fmt.Sprintf("≤ %v ×", limit), r.String(), verdict(r, r.value <= limit), beside}
}

func least(what string, limit float64, r ratio, beside string) target {
	return target{what, fmt.Sprintf("≥ %v ×", limit), r.String(), verdict(r, r.value >= limit), beside}
}

func mostAllocs(what string, limit float64, f figure) target {
	t := target{what + ": allocations above a bare handler", fmt.Sprintf("≤ %v", limit), "–", verdict(f, f.value < limit+0.5), ""}
	if f.ok {
		t.Measured = fmt.Sprintf("%.0f", f.value)
	}
	return t
}

func either(what string, limit float64, r ratio, base string, other float64, floor ratio) target {
	return target{
		what, fmt.Sprintf("≤ %v ×, or ≤ %v × %s", limit, other, base), r.String(),
		verdict(r, r.value <= limit || floor.ok && floor.value <= other), beside(base, floor),
	}
}
