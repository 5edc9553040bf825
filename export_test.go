package sessions

// DrawToken makes a token as m would for a new session.
func DrawToken[T any](m *Manager[T]) (string, error) {
	drawn, err := m.core.NewToken()
	return m.core.Layout.Mint(drawn, false), err
}
