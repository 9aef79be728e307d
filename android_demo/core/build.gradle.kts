import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.kotlin.jvm)
}

java {
    sourceCompatibility = JavaVersion.VERSION_1_8
    targetCompatibility = JavaVersion.VERSION_1_8
}

kotlin {
    compilerOptions {
        jvmTarget = JvmTarget.JVM_1_8
        // Only what Java 8 had: newer methods are missing on old Androids.
        freeCompilerArgs.add("-Xjdk-release=1.8")
        allWarningsAsErrors = true
    }
}

dependencies {
    testImplementation(libs.junit)
}

tasks.test {
    val golden = rootDir.resolve("../tests/golden")
    val model = rootDir.resolve("app/src/main/assets/models/cards_int8.tflite")
    inputs.dir(golden)
    inputs.file(model)
    // Whose names one test reads.
    inputs.files(fileTree(rootDir) { include("*/src/**/*.kt", "verify/**/*.kt") })
    systemProperty("golden", golden.path)
    systemProperty("model", model.path)
    // The test of a picture of 8000 x 6000.
    maxHeapSize = "1g"
}
