package org.microyolo.core

/**
 * Steadies boxes over the frames of a camera: a box that overlaps one of the same class in the last frame moves only part
 * of the way, and one that is missed stays for [patience] frames. Every new object shows at once.
 *
 * @param share of the new box in the shown one, 0..1; 1 does nothing.
 */
class Smoother(private val share: Float = 0.6f, private val patience: Int = 2) {
    // By turns, so that what the last frame showed can be shown while the next one is searched.
    private val results = List(2) { Results() }
    private var turn = 0
    private var shown = Detections.NONE
    private var missed = IntArray(0)

    // Of the frame that is worked on: how often each was missed, where new ones come from (-1 for nowhere), which of the
    // old ones do not stay, and their order.
    private var missing = IntArray(0)
    private var origin = IntArray(0)
    private var taken = BooleanArray(0)
    private var order = IntArray(0)

    /**
     * What to show for [found], best first, until the call after the next. Objects that now score no more than
     * [scoreThreshold] go at once.
     */
    fun smooth(found: Detections, scoreThreshold: Float): Detections {
        val old = shown
        reserve(found.size + old.size)
        for (i in 0 until old.size) taken[i] = old.scores[i] <= scoreThreshold
        for (i in 0 until found.size) {
            val before = alike(found, i, old)
            origin[i] = before
            if (before >= 0) taken[before] = true
        }
        var count = 0
        for (i in 0 until found.size) order[count++] = i
        for (i in 0 until old.size) {
            if (!taken[i] && missed[i] < patience) order[count++] = found.size + i
        }
        sort(count, found, old)
        val next = results[turn].of(count)
        turn = 1 - turn
        for (rank in 0 until count) {
            val from = order[rank]
            if (from < found.size) move(found, from, old, next, rank) else stay(old, from - found.size, next, rank)
        }
        missed = missing.also { missing = missed }
        shown = next
        return next
    }

    /** Forgets what was seen, such as when the camera turns. */
    fun reset() {
        shown = Detections.NONE
    }

    private fun reserve(most: Int) {
        if (order.size >= most) return
        order = IntArray(2 * most)
        origin = IntArray(2 * most)
        taken = BooleanArray(2 * most)
        missed = missed.copyOf(2 * most)
        missing = missing.copyOf(2 * most)
    }

    /** The one of [old] that object [i] of [found] most likely is, unless another has taken it; -1 for none. */
    private fun alike(found: Detections, i: Int, old: Detections): Int {
        var best = -1
        var most = SAME
        for (j in 0 until old.size) {
            if (taken[j] || old.classes[j] != found.classes[i]) continue
            val overlap = old.iou(j, found, i)
            if (overlap > most) {
                most = overlap
                best = j
            }
        }
        return best
    }

    /** Best first, of equal ones the new. */
    private fun sort(count: Int, found: Detections, old: Detections) {
        fun score(from: Int) = if (from < found.size) found.scores[from] else old.scores[from - found.size]
        for (i in 1 until count) {
            val from = order[i]
            var at = i
            while (at > 0 && score(order[at - 1]) < score(from)) {
                order[at] = order[at - 1]
                at--
            }
            order[at] = from
        }
    }

    private fun move(found: Detections, i: Int, old: Detections, next: Detections, rank: Int) {
        val before = origin[i]
        for (edge in 0 until 4) {
            val to = found.boxes[4 * i + edge]
            val from = if (before < 0) to else old.boxes[4 * before + edge]
            next.boxes[4 * rank + edge] = from + (to - from) * share
        }
        next.scores[rank] = found.scores[i]
        next.classes[rank] = found.classes[i]
        missing[rank] = 0
    }

    private fun stay(old: Detections, i: Int, next: Detections, rank: Int) {
        old.boxes.copyInto(next.boxes, 4 * rank, 4 * i, 4 * i + 4)
        next.scores[rank] = old.scores[i]
        next.classes[rank] = old.classes[i]
        missing[rank] = missed[i] + 1
    }

    private companion object {
        const val SAME = 0.3f
    }
}
