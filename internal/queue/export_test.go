package queue

// Keys is how many keys the queue holds.
func (q *Queue) Keys() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.keys)
}

// Taken is how many keys somebody has a turn at or waits for.
func (q *Queue) Taken() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.keys {
		if w.taken || len(w.waiting) > 0 {
			n++
		}
	}
	return n
}
