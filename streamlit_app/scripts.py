"""JavaScript that the page runs in the browser: clicks on citation numbers, and scrolling to answers."""

from __future__ import annotations

# A number in an answer clicks the citation's button below the answer, which keyboard users have as well. The press
# decides, not the browser's click: a page that is redrawn or scrolled between press and release sends none. The button
# of an answer that is just being completed may be drawn a moment later.
OPEN_CITATIONS = """<script>
if (!window.quireMarks) {
  window.quireMarks = true;
  const messages = () => [...document.querySelectorAll('[data-testid="stChatMessage"]')];
  let pressed = null;
  const open = (mark, left) => {
    const message = messages()[mark.message];
    const buttons = message ? [...message.querySelectorAll('[class*="st-key-cite_"] button')] : [];
    const button = buttons.find(one => one.innerText.trim().startsWith(mark.number));
    if (button) button.click();
    else if (left > 0) setTimeout(() => open(mark, left - 1), 100);
  };
  document.addEventListener('pointerdown', event => {
    const mark = event.isPrimary && event.button === 0 && event.target.closest('.quire-mark');
    pressed = mark && {
      number: mark.innerText, message: messages().indexOf(mark.closest('[data-testid="stChatMessage"]')),
      x: event.clientX, y: event.clientY,
    };
  }, true);
  document.addEventListener('pointerup', event => {
    const mark = pressed;
    pressed = null;
    // farther away it is a selection of text
    if (mark && Math.hypot(event.clientX - mark.x, event.clientY - mark.y) < 10) open(mark, 50);
  }, true);
}
</script>"""
# A new answer is scrolled into view when it starts and when it is complete, even if the reader had scrolled up before;
# in between Streamlit follows it. A reader who touches the page meanwhile stays where they are.
START_FOLLOWING = """<script>
window.quireFollows = true;
for (const kind of ['wheel', 'touchmove', 'keydown', 'pointerdown'])
  document.addEventListener(kind, () => { window.quireFollows = false; }, { once: true, passive: true });
</script>"""
SCROLL_TO_END = """<script>
{ const go = () => {
    const main = document.querySelector('[data-testid="stAppScrollToBottomContainer"]');
    if (main && window.quireFollows) main.scrollTo({ top: main.scrollHeight });
  };
  go();
  setTimeout(go, 300);  // the page may still be drawing
}
</script>"""
# for an answer that was complete at once: it is read from its question on
SCROLL_TO_QUESTION = """<script>
{ const go = () => {
    const main = document.querySelector('[data-testid="stAppScrollToBottomContainer"]');
    const asked = main && [...main.querySelectorAll('[data-testid="stChatMessage"]')].at(-2);
    if (!asked || !window.quireFollows) return;
    const top = asked.getBoundingClientRect().top - main.getBoundingClientRect().top + main.scrollTop - 70;
    main.scrollTo({ top: Math.min(top, main.scrollHeight - main.clientHeight) });
  };
  go();
  for (const wait of [300, 800]) setTimeout(go, wait);  // the page may still be drawing
}
</script>"""
