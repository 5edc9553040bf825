// One script plays both tabs. It shares its cookies with every tab of this browser, as two tabs do.
const still = matchMedia("(prefers-reduced-motion: reduce)");
const pause = () => new Promise((go) => setTimeout(go, still.matches ? 0 : 450));
const post = (path, query) => fetch(`${path}?${new URLSearchParams(query)}`, {method: "POST"});
const stored = async (lane) => (await fetch(`/${lane}/session`)).json();
const page = Math.random().toString(36).slice(2);
let races = 0;

// race sends a in tab A, and b in tab B while the server holds A's. step is called before each of the three steps.
const race = async (lane, a, b, step = async () => {}) => {
	const id = `${page}-${++races}`;
	await step(1);
	const first = post(`/${lane}/${a}`, {tab: "A", hold: id});
	await step(2);
	const second = await post(`/${lane}/${b}`, {tab: "B", after: id});
	await step(3);
	await post("/release", {race: id});
	for (const answer of [second, await first]) if (!answer.ok && answer.status !== 409) throw new Error(await answer.text());
	return (await first).status === 409 ? "Tab A is told by a 409." : "";
};

// fifty lets both tabs click fifty times.
const fifty = async (lane, action, show) => {
	await post(`/${lane}/begin`);
	for (let i = 1; i <= 50; i++) {
		await race(lane, action, action);
		show(`${(await stored(lane)).clicks} of ${2 * i}`);
	}
	return (await stored(lane)).clicks;
};

// Each play says whether all is well afterwards, what there is, and why.
const plays = {
	clicks: async (lane, step, show) => {
		const clicks = await fifty(lane, "count", show);
		const plain = lane === "here" ? await fifty(lane, "click", () => {}) : 0;
		return {
			ok: clicks === 100, value: `${clicks} of 100 clicks`,
			why: lane === "here" ? `Update is exact. A plain s.Clicks++ counts ${plain}, here too.` : "Each save writes what its tab had counted. There is no atomic update.",
		};
	},
	cart: async (lane, step) => {
		await post(`/${lane}/begin`);
		await race(lane, "language", "cart", step);
		const s = await stored(lane);
		const language = s.language === "de", pear = Boolean(s.cart?.includes("pear"));
		return {
			ok: language && pear, value: language && pear ? "both are kept" : pear ? "the language is lost" : "the pear is lost",
			why: language && pear ? "A save merges by field." : "A save writes back the whole session, as its tab had loaded it.",
		};
	},
	signout: async (lane, step) => {
		await post(`/${lane}/begin`);
		await post(`/${lane}/signin`);
		const told = await race(lane, "cart", "signout", step);
		const {user} = await stored(lane);
		return {
			ok: !user, value: user ? "signed in again" : "signed out",
			why: user ? "Tab A’s save brings the session back, and its answer the cookie." : `A save brings back nothing that has ended. ${told}`,
		};
	},
	signin: async (lane, step) => {
		await post(`/${lane}/begin`);
		const told = await race(lane, "language", "signin", step);
		const {user} = await stored(lane);
		return {
			ok: user === "ada", value: user ? "signed in" : "not signed in",
			why: user ? `A renewed token stays dead, and is not sent again. ${told}` : "Tab A’s save brings the old session back, and its answer the old cookie.",
		};
	},
};

const play = async (section) => {
	const button = section.querySelector("button");
	button.disabled = true;
	const steps = section.querySelectorAll("li");
	const step = async (n) => {
		steps.forEach((li, i) => li.classList.toggle("now", i === n - 1));
		await pause();
	};
	await Promise.all([...section.querySelectorAll(".lane")].map(async (lane) => {
		const value = lane.querySelector(".value"), why = lane.querySelector(".why");
		lane.dataset.verdict = "";
		value.textContent = "…";
		why.textContent = "";
		const result = await plays[section.id](lane.dataset.lane, step, (text) => { value.textContent = text; }).catch((err) => ({value: "no answer", why: err.message}));
		value.textContent = result.value;
		why.textContent = result.why;
		lane.dataset.verdict = {true: "yes", false: "no"}[result.ok] ?? "";
	}));
	steps.forEach((li) => li.classList.remove("now"));
	button.disabled = false;
};

const sections = [...document.querySelectorAll("section[id]")];
for (const section of sections) {
	for (const lane of section.querySelectorAll(".lane")) lane.prepend(document.querySelector("#result").content.cloneNode(true));
	section.querySelector("button").onclick = () => play(section);
}
const all = document.querySelector("#all");
all.onclick = async () => {
	all.disabled = true;
	for (const section of sections) await play(section);
	all.disabled = false;
};

const meanings = {
	merged: "has changed in the other tab: both changes stand",
	gone: "ended or renewed: the change is dropped",
};
const events = new EventSource("/events");
events.onmessage = (e) => {
	const {lane, tab, kind, text} = JSON.parse(e.data);
	const log = document.querySelector(`#log-${lane}`), lines = [...log.children];
	const li = document.createElement("li");
	for (const [name, content] of [["i", tab], ["b", kind], ["span", `${text} ${meanings[kind] ?? ""}`]]) {
		const part = document.createElement(name);
		part.textContent = content;
		li.append(part, " ");
	}
	// One line stands for the fifty clicks of a tab. A line without a tab begins a race.
	li.dataset.key = tab && [tab, kind, text.replace(/\d+/, "")].join();
	const same = lines.slice(0, lines.findIndex((line) => !line.dataset.key)).find((line) => line.dataset.key === li.dataset.key);
	li.dataset.times = Number(same?.dataset.times ?? 0) + 1;
	if (same) same.replaceWith(li);
	else log.prepend(li);
	while (log.children.length > 100) log.lastChild.remove();
};
