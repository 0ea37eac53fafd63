"use strict";
// A small client that keeps the promise's other half: it resumes after the last event that it has, waits for `resumed`,
// and drops duplicates by id. Tokens stay in this page's memory and go nowhere but to this server.

const SHOWN = 200; // frames on the page
const REMEMBERED = 5000; // ids by which duplicates are known
const FINAL = new Set([1009, 4401, 4403, 4408, 4429]); // coming back at once would not help
const LONGEST_PAUSE = 15_000; // milliseconds

const element = (id) => document.getElementById(id);
const counts = { events: 0, duplicates: 0, others: 0, reconnects: 0 };
const seen = new Set();
let token = null;
let socket = null;
let last = null; // the id of the last event, in the order of arrival
let resuming = false;
let attempts = 0;
let timer = 0;
let generation = 0; // what was begun before the user changed their mind comes to nothing

function count(name) {
  counts[name] += 1;
  element(name).textContent = String(counts[name]);
}

function say(state, words) {
  element("state").dataset.state = state;
  element("state").textContent = words;
  const open = state === "live";
  element("send").disabled = element("drop").disabled = !open;
  element("stop").disabled = state === "idle";
}

function show(text) {
  const line = document.createElement("pre");
  line.textContent = text;
  const item = document.createElement("li");
  item.append(line);
  element("log").prepend(item);
  while (element("log").children.length > SHOWN) element("log").lastChild.remove();
}

async function post(path, body, bearer) {
  const headers = { "Content-Type": "application/json" };
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  const answer = await fetch(new URL(`../${path}`, location.href), {
    method: "POST",
    headers,
    body: body === null ? undefined : JSON.stringify(body),
  });
  const found = await answer.json();
  if (answer.ok) return found;
  throw Object.assign(new Error(found.title ?? "The server refused."), { status: answer.status });
}

function remember(id) {
  seen.add(id);
  if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
  last = id;
}

function hear(text) {
  const frame = JSON.parse(text);
  if (!("event" in frame)) {
    count("others");
    if (frame.type === "resumed" || (frame.type === "error" && frame.code.startsWith("resume_"))) resuming = false;
    return show(JSON.stringify(frame, null, 1));
  }
  if (resuming) return; // a live one, which comes again in its place
  if (seen.has(frame.id)) return count("duplicates");
  remember(frame.id);
  count("events");
  show(JSON.stringify(frame, null, 1));
}

async function open() {
  const begun = generation;
  let ticket;
  try {
    ({ ticket } = await post("api/v1/ws/tickets", null, token));
  } catch (error) {
    if (begun !== generation) return;
    if (error.status === 401) return say("idle", "Sign in again: the token counts no more.");
    return comeBack("The server gives no ticket.");
  }
  if (begun !== generation) return;
  const url = new URL(`../ws/notifications/?ticket=${encodeURIComponent(ticket)}`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(url);
  socket = opened;
  opened.onopen = () => {
    attempts = 0;
    resuming = last !== null;
    if (resuming) opened.send(JSON.stringify({ op: "resume", after: last }));
    say("live", "Connected.");
  };
  opened.onmessage = (message) => {
    if (opened === socket) hear(message.data);
  };
  opened.onclose = (closed) => {
    if (opened !== socket) return;
    socket = null;
    show(`closed: ${closed.code} ${closed.reason}`);
    if (FINAL.has(closed.code)) say("idle", `Closed with ${closed.code}: see the table below.`);
    else comeBack(`Closed with ${closed.code}.`);
  };
}

function comeBack(why) {
  count("reconnects");
  // Longer after each failure, and never all clients at the same moment.
  const pause = Math.min(LONGEST_PAUSE, 250 * 2 ** attempts) * (0.5 + Math.random() / 2);
  attempts += 1;
  say("waiting", `${why} Coming back…`);
  timer = setTimeout(open, pause);
}

function leave() {
  generation += 1;
  clearTimeout(timer);
  const left = socket;
  socket = null;
  left?.close(1000);
}

element("sign-in").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  leave();
  say("waiting", "Connecting…");
  try {
    const pasted = element("token").value.trim();
    const credentials = { email: element("email").value, password: element("password").value, device: "socket page" };
    token = pasted || (await post("api/v1/auth/login", credentials)).access_token;
  } catch (error) {
    return say("idle", error.message);
  }
  element("password").value = element("token").value = "";
  seen.clear();
  last = null;
  attempts = 0;
  await open();
});

element("say").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  socket?.send(element("frame").value);
});

element("drop").addEventListener("click", () => {
  leave();
  comeBack("The line was dropped.");
});

element("stop").addEventListener("click", () => {
  leave();
  say("idle", "Not connected.");
});
