package org.microyolo.core

import kotlin.math.max
import kotlin.math.min

/** x' = a x + b y + c, y' = d x + e y + f. */
data class Affine(val a: Double, val b: Double, val c: Double, val d: Double, val e: Double, val f: Double) {
    fun x(x: Double, y: Double) = a * x + b * y + c

    fun y(x: Double, y: Double) = d * x + e * y + f

    /** First this, then [next]. */
    fun then(next: Affine) = Affine(
        next.a * a + next.b * d,
        next.a * b + next.b * e,
        next.x(c, f),
        next.d * a + next.e * d,
        next.d * b + next.e * e,
        next.y(c, f)
    )

    fun inverse(): Affine {
        val determinant = a * e - b * d
        check(determinant != 0.0) { "a mapping without area has no inverse" }
        val across = Affine(e, -b, 0.0, -d, a, 0.0).times(1 / determinant)
        return across.copy(c = -across.x(c, f), f = -across.y(c, f))
    }

    /** [to] becomes the rectangle that the corners at [i] of [boxes] become, for mappings by right angles. */
    fun map(boxes: FloatArray, i: Int, to: Box) {
        val x0 = x(boxes[i].toDouble(), boxes[i + 1].toDouble())
        val y0 = y(boxes[i].toDouble(), boxes[i + 1].toDouble())
        val x1 = x(boxes[i + 2].toDouble(), boxes[i + 3].toDouble())
        val y1 = y(boxes[i + 2].toDouble(), boxes[i + 3].toDouble())
        to.x0 = min(x0, x1).toFloat()
        to.y0 = min(y0, y1).toFloat()
        to.x1 = max(x0, x1).toFloat()
        to.y1 = max(y0, y1).toFloat()
    }

    private fun times(by: Double) = Affine(a * by, b * by, c * by, d * by, e * by, f * by)

    companion object {
        val IDENTITY = Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

        fun scale(across: Double, down: Double) = Affine(across, 0.0, 0.0, 0.0, down, 0.0)

        fun shift(across: Double, down: Double) = Affine(1.0, 0.0, across, 0.0, 1.0, down)

        /** A picture of [width] x [height] turned clockwise by [degrees], its corner at 0, 0 again. */
        fun turn(width: Double, height: Double, degrees: Int) = when (Math.floorMod(degrees, 360)) {
            0 -> IDENTITY
            90 -> Affine(0.0, -1.0, height, 1.0, 0.0, 0.0)
            180 -> Affine(-1.0, 0.0, width, 0.0, -1.0, height)
            270 -> Affine(0.0, 1.0, 0.0, -1.0, 0.0, width)
            else -> fail("rotation: must be a multiple of 90, got $degrees")
        }
    }
}

/** How a picture gets into a view of another shape, centred, never stretched: all of it, or all of the view. */
enum class ScaleMode { FIT, CROP }

/** Pixels across and down. */
data class Size(val width: Int, val height: Int) {
    val pixels get() = width.toLong() * height

    /** Of a picture turned by [degrees]. */
    fun turned(degrees: Int) = if (degrees % 180 == 0) this else Size(height, width)

    fun sameShape(other: Size) = width.toLong() * other.height == other.width.toLong() * height
}

/**
 * The directions of a camera and of the screen.
 *
 * @property sensor degrees by which the sensor's picture is turned clockwise to be upright on the device as it is held
 * normally: Android's SENSOR_ORIENTATION.
 * @property display degrees of the screen's rotation: Android's Display.getRotation() times 90.
 * @property front whether the camera looks at the user: its preview is a mirror.
 */
data class Orientation(val sensor: Int, val display: Int, val front: Boolean) {
    /** Degrees by which a frame is turned clockwise to be upright on the screen. */
    val upright get() = Math.floorMod(if (front) sensor + display else sensor - display, 360)

    /** Upright pictures of size [picture] to a view of size [view]; mirrored for a front camera. */
    fun toView(picture: Size, view: Size, mode: ScaleMode): Affine {
        val mirror = if (front) Affine(-1.0, 0.0, picture.width.toDouble(), 0.0, 1.0, 0.0) else Affine.IDENTITY
        return mirror.then(place(picture, view, mode))
    }

    /**
     * The transform that a TextureView of size [view] needs for its content, camera frames of size [frame], to look
     * right. Untransformed it shows them upright for the device as it is held normally, mirrored for a front camera,
     * and stretched to the view.
     */
    fun textureTransform(frame: Size, view: Size, mode: ScaleMode): Affine {
        val natural = frame.turned(sensor)
        val (width, height) = natural.width.toDouble() to natural.height.toDouble()
        return Affine
            .scale(width / view.width, height / view.height)
            .then(Affine.turn(width, height, -display))
            .then(place(natural.turned(display), view, mode))
    }

    companion object {
        /** A picture of size [picture] centred in a view of size [view]. */
        fun place(picture: Size, view: Size, mode: ScaleMode): Affine {
            val across = view.width.toDouble() / picture.width
            val down = view.height.toDouble() / picture.height
            val scale = if (mode == ScaleMode.FIT) min(across, down) else max(across, down)
            return Affine
                .scale(scale, scale)
                .then(
                    Affine.shift((view.width - picture.width * scale) / 2, (view.height - picture.height * scale) / 2)
                )
        }
    }
}
