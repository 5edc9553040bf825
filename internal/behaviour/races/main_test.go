package races_test

import (
	"testing"

	"github.com/typedsessions/sessions/internal/behaviour/kit"
)

func TestMain(m *testing.M) { kit.MainForEachOwner(m) }
