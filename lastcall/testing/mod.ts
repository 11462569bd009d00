/** What the tests of an app need of the engine: time and a server under their control. */

export { FakeClock, settle } from "./fake_clock.ts";
export { FakeServer } from "./fake_server.ts";
