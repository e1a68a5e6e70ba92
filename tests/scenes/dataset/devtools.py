"""A tab of a headless Chromium, driven over its DevTools pipe (no port, no further package)."""

import contextlib
import json
import os
import subprocess
from typing import Any


class Tab:
    def __init__(self, sent: int, answers: int):
        self._sent, self._answers, self._held, self._count = sent, answers, b"", 0
        self._session: dict[str, str] = {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}

    def ask(self, method: str, **params: Any) -> dict:
        """https://chromedevtools.github.io/devtools-protocol"""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params, **self._session}
        os.write(self._sent, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._held:
                read = os.read(self._answers, 1 << 20)
                assert read, "the browser is gone"
                self._held += read
            one, self._held = self._held.split(b"\0", 1)
            answer = json.loads(one)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, expression: str) -> Any:
        """Of a JavaScript expression, or of the promise that it is."""
        done = self.ask("Runtime.evaluate", expression=expression, returnByValue=True,
                        awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def open(self, address: str, width: int, touch: bool = False) -> None:
        """A page in a window of some width (CSS pixels), with a finger or without."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=800,
                 deviceScaleFactor=1, mobile=touch)  # fmt: skip
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=address)
        loaded = "document.readyState == 'complete' && location.href != 'about:blank'"
        self.value(f"new Promise(r => {{ const wait = () => {loaded} ? r() : setTimeout(wait, 50);"
                   " wait(); })")  # fmt: skip

    def tap(self, x: float, y: float) -> None:
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.value("new Promise(r => setTimeout(r, 500))")  # the click comes a little later


@contextlib.contextmanager
def tab(command: list[str]):
    """A tab of the browser that a command starts; both end with the block."""
    (theirs, sent), (answers, back) = os.pipe(), os.pipe()
    # Chromium reads at 3 and answers at 4.
    shell = 'exec 3<&"$0" 4>&"$1"; shift; exec "$@"'
    started = subprocess.Popen(
        ["bash", "-c", shell, str(theirs), str(back), *command, "--remote-debugging-pipe"],
        pass_fds=(theirs, back), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    os.close(back)
    try:
        yield Tab(sent, answers)
    finally:
        started.terminate()
        started.wait(20)
        os.close(sent)
        os.close(answers)
