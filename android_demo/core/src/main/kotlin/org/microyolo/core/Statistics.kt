package org.microyolo.core

import kotlin.math.min

/** Frame rate and latency over the last [window] frames. Not for several threads at once. */
class Statistics(private val window: Int = 30) {
    private val moments = LongArray(window)
    private val steps = List(3) { DoubleArray(window) }
    private var count = 0

    /** A frame was done at [nanos] of a monotonic clock. */
    fun add(nanos: Long, times: Times) {
        val at = count % window
        moments[at] = nanos
        steps[0][at] = times.preprocess
        steps[1][at] = times.inference
        steps[2][at] = times.decode
        count++
    }

    fun reset() {
        count = 0
    }

    private val kept get() = min(count, window)

    /** Frames per second, 0 before the second frame. */
    val framesPerSecond: Double
        get() {
            if (count < 2) return 0.0
            val nanos = moments[(count - 1) % window] - moments[(count - kept) % window]
            return if (nanos > 0) (kept - 1) * 1e9 / nanos else 0.0
        }

    /** [to] becomes the means over the window, zeros before the first frame. */
    fun means(to: Times) = to.set(mean(steps[0]), mean(steps[1]), mean(steps[2]))

    private fun mean(of: DoubleArray): Double {
        var sum = 0.0
        for (i in 0 until kept) sum += of[i]
        return if (kept == 0) 0.0 else sum / kept
    }
}
