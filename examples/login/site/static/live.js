// The counter of the live page. It ends with the session, and says so.
const live = document.getElementById("live");
const show = (state, words) => {
	live.dataset.state = state;
	document.getElementById("state").textContent = words;
};
const events = new EventSource(live.dataset.events);
const end = () => {
	events.close();
	show("ended", "This session has ended");
	document.getElementById("text").textContent = "You were signed out. The connection was closed by the server.";
	document.getElementById("again").hidden = false;
};
events.onmessage = (e) => {
	show("on", "Connected");
	document.getElementById("count").textContent = e.data;
};
events.addEventListener("ended", end);
events.onerror = () => {
	if (events.readyState !== EventSource.CLOSED) return show("connecting", "Connecting again");
	// The server has answered, and not with events: the session has ended, or there is a problem. The page itself tells.
	setTimeout(() => location.reload(), 2000);
	show("connecting", "Connecting again");
};
