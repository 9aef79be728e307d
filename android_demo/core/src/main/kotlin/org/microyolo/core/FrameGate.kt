package org.microyolo.core

import java.util.concurrent.atomic.AtomicReference

/**
 * Lets one frame at a time through and none after [close]: a frame that comes while another is worked on is dropped, so
 * that none waits in a queue and grows old. For any threads.
 */
class FrameGate {
    private enum class State { OPEN, BUSY, CLOSING, CLOSED }

    private val state = AtomicReference(State.OPEN)

    /** Frames turned away while another was worked on. */
    @Volatile
    var dropped = 0
        private set

    /** Whether the caller may work on its frame; if so it must call [leave]. */
    fun tryEnter(): Boolean {
        if (state.compareAndSet(State.OPEN, State.BUSY)) return true
        if (state.get() == State.BUSY) dropped++
        return false
    }

    /** The frame is done. True if the gate was closed meanwhile: then the caller frees what frames need. */
    fun leave(): Boolean {
        if (state.compareAndSet(State.BUSY, State.OPEN)) return false
        check(state.compareAndSet(State.CLOSING, State.CLOSED)) { "no frame has entered" }
        return true
    }

    /** No frame enters any more. True if none is being worked on: then the caller frees what frames need. */
    fun close(): Boolean {
        if (state.compareAndSet(State.OPEN, State.CLOSED)) return true
        state.compareAndSet(State.BUSY, State.CLOSING)
        return false
    }
}
