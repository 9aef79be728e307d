package org.microyolo.core

/** Frame rate and latency over the last [window] frames. Not for several threads at once. */
class Statistics(private val window: Int = 30) {
    private class Sample(val at: Long, val times: Times)

    private val samples = ArrayDeque<Sample>()

    /** A frame was done at [nanos] of a monotonic clock. */
    fun add(nanos: Long, times: Times) {
        samples.addLast(Sample(nanos, times))
        if (samples.size > window) samples.removeFirst()
    }

    fun reset() = samples.clear()

    /** Frames per second, 0 before the second frame. */
    val framesPerSecond: Double
        get() {
            if (samples.size < 2) return 0.0
            val nanos = samples.last().at - samples.first().at
            return if (nanos > 0) (samples.size - 1) * 1e9 / nanos else 0.0
        }

    /** Means over the window, zeros before the first frame. */
    val times: Times
        get() {
            fun mean(of: (Times) -> Double) = if (samples.isEmpty()) 0.0 else samples.map { of(it.times) }.average()
            return Times(mean { it.preprocess }, mean { it.inference }, mean { it.decode })
        }
}
