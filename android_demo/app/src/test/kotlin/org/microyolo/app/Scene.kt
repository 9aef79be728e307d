package org.microyolo.app

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.Matrix
import android.graphics.Paint
import android.graphics.RectF
import android.net.Uri
import android.view.View
import java.io.File
import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import kotlin.math.roundToInt
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.robolectric.Shadows.shadowOf

/** An object that pipeline.predict finds, in pixels of the upright picture. */
class Thing(val label: String, val score: Float, val box: RectF) {
    val text get() = "$label ${(score * 100).roundToInt()} %"
}

/** A photograph, and what pipeline.predict finds in it, from the gallery or a camera; verify/phone.py wrote it. */
class Scene private constructor(case: JSONObject) {
    val width = case.getInt("width")
    val height = case.getInt("height")
    val photo = things(case.getJSONArray("photo"))
    val frame = things(case.getJSONArray("frame"))
    private val picture = folder.resolve(case.getString("file"))

    val bitmap: Bitmap get() = picture.readBytes().let { BitmapFactory.decodeByteArray(it, 0, it.size) }

    /** Where the gallery of the [phone] has it. */
    fun uri(phone: Phone) = Uri.parse("content://gallery/${picture.name}").also { uri ->
        shadowOf(phone.app.contentResolver).registerInputStreamSupplier(uri) { picture.inputStream() }
    }

    /** What a sensor sees whose pictures are to be turned clockwise by [upright] degrees. */
    fun seen(upright: Int): Bitmap = bitmap.let {
        Bitmap.createBitmap(it, 0, 0, it.width, it.height, Matrix().apply { postRotate(-upright.toFloat()) }, true)
    }

    /** What its camera gives: rows of luma longer than the picture, and blue and red by turns in one array. */
    fun frame(upright: Int): Frame {
        val bytes = picture.resolveSibling("${picture.nameWithoutExtension}.yuv").readBytes()
        val quarter = width * height / 4
        val luma = turned(bytes.copyOf(4 * quarter), width, height, -upright)
        val blue = turned(bytes.copyOfRange(4 * quarter, 5 * quarter), width / 2, height / 2, -upright)
        val red = turned(bytes.copyOfRange(5 * quarter, 6 * quarter), width / 2, height / 2, -upright)
        val (across, down) = size(upright)
        val rows = ByteArray((across + PADDING) * down)
        for (y in 0 until down) luma.copyInto(rows, y * (across + PADDING), y * across, (y + 1) * across)
        val mixed = ByteArray(across * down / 2)
        for (i in 0 until quarter) {
            mixed[2 * i] = red[i]
            mixed[2 * i + 1] = blue[i]
        }
        // As devices have it, the planes begin one after the other and lack what they have no use for.
        val colours = listOf(mixed.copyOfRange(1, mixed.size), mixed.copyOf(mixed.size - 1))
        val planes = listOf(YuvPlane(rows, across + PADDING, 1)) + colours.map { YuvPlane(it, across, 2) }
        return Frame(across, down, planes)
    }

    /** Width and height of that camera's pictures. */
    fun size(upright: Int) = if (upright % 180 == 0) width to height else height to width

    /** Clockwise. */
    private fun turned(plane: ByteArray, width: Int, height: Int, degrees: Int): ByteArray {
        var (now, across, down) = Triple(plane, width, height)
        repeat(Math.floorMod(degrees, 360) / 90) {
            val next = ByteArray(now.size)
            for (y in 0 until down) {
                for (x in 0 until across) next[x * down + (down - 1 - y)] = now[y * across + x]
            }
            now = next
            across = down.also { down = across }
        }
        return now
    }

    /** Where those [things] that are seen belong in a view: all of the picture in its middle, or all of it filled. */
    fun onScreen(things: List<Thing>, view: View, fill: Boolean, mirrored: Boolean): List<Pair<String, RectF>> {
        val (across, down) = view.width / width.toFloat() to view.height / height.toFloat()
        val scale = if (fill) max(across, down) else min(across, down)
        val left = (view.width - width * scale) / 2
        val top = (view.height - height * scale) / 2
        return things.mapNotNull { thing ->
            val (x0, x1) = thing.box.run { if (mirrored) width - right to width - this.left else this.left to right }
            val (y0, y1) = thing.box.top to thing.box.bottom
            val box = RectF(left + x0 * scale, top + y0 * scale, left + x1 * scale, top + y1 * scale)
            val isSeen = box.intersect(0f, 0f, view.width.toFloat(), view.height.toFloat())
            (thing.text to box).takeIf { isSeen }
        }
    }

    companion object {
        private const val PADDING = 16
        private val folder =
            File(System.getProperty("phone") ?: error("-Dphone=FOLDER that verify/phone.py writes is missing"))

        private val cases = JSONObject(folder.resolve("cases.json").readText())

        val all = scenes("scenes")

        /** One scene, stored in the eight ways of EXIF's orientation, upright first. */
        val turned = scenes("turned")

        private fun scenes(kind: String) = cases.getJSONArray(kind).run { List(length()) { Scene(getJSONObject(it)) } }

        private fun things(found: JSONArray) = List(found.length()) {
            val thing = found.getJSONObject(it)
            val (x0, y0, x1, y1) = thing.getJSONArray("box").run { List(4) { i -> getDouble(i).toFloat() } }
            Thing(thing.getString("label"), thing.getDouble("score").toFloat(), RectF(x0, y0, x1, y1))
        }
    }
}

/** What a view draws: the frames of boxes, and texts. */
class Drawn(view: View) : Canvas(Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888)) {
    val boxes = ArrayList<RectF>()
    val texts = ArrayList<String>()

    init {
        view.draw(this)
    }

    override fun drawRect(left: Float, top: Float, right: Float, bottom: Float, paint: Paint) {
        if (paint.style == Paint.Style.STROKE) boxes += RectF(left, top, right, bottom)
    }

    override fun drawText(text: String, x: Float, y: Float, paint: Paint) {
        texts += text
    }
}

/** The overlay of the [phone] shows [wanted], texts and boxes, to less than a pixel, and nothing else. */
fun assertShown(what: String, wanted: List<Pair<String, RectF>>, phone: Phone) {
    phone.settle()
    val drawn = Drawn(phone.view(R.id.overlay)).run { texts.zip(boxes) }
    assertEquals(what, wanted.map { it.first }.sorted(), drawn.map { it.first }.sorted())
    for ((text, box) in wanted) {
        val nearest = drawn.filter { it.first == text }.minOf { distance(it.second, box) }
        assertEquals("$what, $text at $box, drawn are $drawn", 0f, nearest, 0.5f)
    }
}

private fun distance(one: RectF, other: RectF) = maxOf(
    maxOf(abs(one.left - other.left), abs(one.top - other.top)),
    maxOf(abs(one.right - other.right), abs(one.bottom - other.bottom))
)
