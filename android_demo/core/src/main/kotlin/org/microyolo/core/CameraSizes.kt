package org.microyolo.core

import kotlin.math.abs

/** Sizes of the two streams of a camera: for the screen and for the detector. Of one shape, so they show the same. */
data class CameraSizes(val preview: Size, val frame: Size) {
    companion object {
        /** About what a detector needs: more would only cost time. */
        private val WANTED_FRAME = Size(640, 480)

        /** Of more than this a screen shows nothing, and not every camera has it beside a second stream. */
        private val LARGEST_PREVIEW = Size(1920, 1080)

        /** The best pair; [ModelException] if there is no size at all. */
        fun choose(previews: List<Size>, frames: List<Size>): CameraSizes {
            if (previews.isEmpty() || frames.isEmpty()) {
                fail("camera: offers no sizes, got ${previews.size} for the screen and ${frames.size} for frames")
            }
            val shown = previews.filter { it.pixels <= LARGEST_PREVIEW.pixels }.ifEmpty { previews }
            val byFitness = frames.sortedBy { abs(it.pixels - WANTED_FRAME.pixels) }
            for (frame in byFitness) {
                val alike = shown.filter { it.sameShape(frame) }
                if (alike.isNotEmpty()) return CameraSizes(alike.maxBy { it.pixels }, frame)
            }
            return CameraSizes(shown.maxBy { it.pixels }, byFitness.first())
        }
    }
}
