"use strict";
for (const compare of document.querySelectorAll(".compare")) {
  const range = compare.querySelector("input");
  if (!range) continue;
  const cut = () => compare.style.setProperty("--cut", range.value + "%");
  range.addEventListener("input", cut);
  cut();
}
for (const choice of document.querySelectorAll(".choice")) {
  const compare = choice.parentElement.querySelector(".compare");
  choice.addEventListener("change", (event) => {
    const chosen = choice.parentElement.querySelector("img[data-kind=" + event.target.value + "]");
    for (const image of compare.querySelectorAll("img[data-kind]")) image.hidden = image !== chosen;
    compare.querySelector(".tag.l").textContent = event.target.value;
  });
}
for (const time of document.querySelectorAll(".time")) {
  const range = time.querySelector("input");
  const frames = [...time.querySelectorAll("img")];
  const show = () => {
    const index = Number(range.value);
    frames.forEach((frame, k) => frame.classList.toggle("shown", k === index));
    time.querySelector("output").textContent = frames[index].alt;
    range.setAttribute("aria-valuetext", frames[index].alt);
  };
  range.addEventListener("input", show);
  show();
}
