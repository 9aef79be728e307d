// The camera, frame by frame; on a phone the one that looks outward.

const REASONS = {
  NotFoundError: "there is none",
  NotAllowedError: "it was not allowed, which the browser's settings of this page change",
  NotReadableError: "another program has it",
};

export class Camera {
  /** video: an element to play in. onFrame(video) is called for each new frame, onEnd(reason) when it ends by itself. */
  constructor(video, onFrame, onEnd) {
    Object.assign(this, { video, onFrame, onEnd, stream: undefined, facing: "environment" });
  }

  get on() {
    return this.stream !== undefined;
  }

  /** Whether there is more than one to choose from, as far as the browser says. */
  async several() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  /** Start. Throws an Error that says why not. */
  async start() {
    if (!navigator.mediaDevices) {
      throw new Error("the browser gives it to pages of this computer or by HTTPS only; open http://localhost");
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: this.facing }, audio: false });
      this.video.srcObject = stream;
      await this.video.play();
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      throw new Error(REASONS[error.name] ?? error.message);
    }
    this.stream = stream;
    for (const track of stream.getTracks()) track.addEventListener("ended", () => this.end("it is gone"));
    this.next(stream);
  }

  /** The camera that looks the other way. */
  async turn() {
    this.stop();
    this.facing = this.facing === "environment" ? "user" : "environment";
    await this.start();
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = undefined;
    this.video.srcObject = null;
  }

  end(reason) {
    if (!this.on) return;
    this.stop();
    this.onEnd(reason);
  }

  /** Each frame once: where the browser says when there is a new one, no other is looked at. */
  next(stream) {
    const look = () => {
      if (this.stream !== stream) return;
      try {
        if (this.video.videoWidth) this.onFrame(this.video);
        this.next(stream);
      } catch (error) {
        this.end(error.message);
      }
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(look);
    else requestAnimationFrame(look);
  }
}
