package org.microyolo.core

/**
 * Steadies boxes over the frames of a camera: a box that overlaps one of the same class in the last frame moves only part
 * of the way, and one that is missed stays for [patience] frames. Every new object shows at once.
 *
 * @param share of the new box in the shown one, 0..1; 1 does nothing.
 */
class Smoother(private val share: Float = 0.6f, private val patience: Int = 2) {
    private class Track(val box: Box, val score: Float, val category: Int, val missed: Int)

    private var tracks = listOf<Track>()

    /** What to show for [found], best first. Objects that now score no more than [scoreThreshold] go at once. */
    fun smooth(found: Detections, scoreThreshold: Float): Detections {
        val old = tracks.filter { it.score > scoreThreshold }.toMutableList()
        val shown =
            List(found.size) { i ->
                val box = found.box(i)
                val before =
                    old
                        .filter { it.category == found.classes[i] && it.box.iou(box) > SAME }
                        .maxByOrNull { it.box.iou(box) }
                old.remove(before)
                Track(if (before == null) box else mix(before.box, box), found.scores[i], found.classes[i], 0)
            }
        val missed = old.filter { it.missed < patience }.map { Track(it.box, it.score, it.category, it.missed + 1) }
        tracks = (shown + missed).sortedByDescending { it.score }
        return Detections(
            tracks.flatMap { listOf(it.box.x0, it.box.y0, it.box.x1, it.box.y1) }.toFloatArray(),
            tracks.map { it.score }.toFloatArray(),
            tracks.map { it.category }.toIntArray()
        )
    }

    /** Forgets what was seen, such as when the camera turns. */
    fun reset() {
        tracks = listOf()
    }

    private fun mix(old: Box, new: Box): Box {
        fun between(from: Float, to: Float) = from + (to - from) * share
        return Box(between(old.x0, new.x0), between(old.y0, new.y0), between(old.x1, new.x1), between(old.y1, new.y1))
    }

    private companion object {
        const val SAME = 0.3f
    }
}
