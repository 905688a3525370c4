// The lesson of SockJS: how the library chooses its transport, until the first message.

import { showSteps } from "./steps.js";

const FRAMES = { o: "open", a: "events", h: "beat", c: "close" };

export function showLesson(element, page) {
  showSteps(element, page, {
    transport: "sockjs",
    isFirst: ({ target = "" }) => target.startsWith("/sockjs/info"),
    hasEvent: (text) => /(^|\n)(data: )?a\[.*\\"kind\\":\\"/.test(text),
    meaning,
  });
}

function meaning({ direction, target = "", text, status }) {
  if (target.startsWith("/sockjs/info")) return "lesson.sockjs.info";
  if (target.includes("/iframe")) return "lesson.sockjs.iframe";
  if (target.includes("/xhr_send")) return "lesson.sockjs.send";
  if (target) return "lesson.sockjs.ask";
  if (status === 101) return "lesson.steps.switched";
  if (direction === "up") return text.includes('kind\\":\\"join') ? "lesson.sockjs.join" : "lesson.sockjs.say";
  const letter = text.replace(/^data: /, "")[0];
  return FRAMES[letter] && (/^h{100}/.test(text) ? "lesson.sockjs.prelude" : `lesson.sockjs.${FRAMES[letter]}`);
}
